"""What the browser draws, as plain lists and numbers."""

from typing import Any

import numpy as np

from datasets.columns import AXES
from utils.annotate.session import Session
from utils.annotate.thin import thin_trace
from utils.annotate.tracks import TrackEstimate
from utils.labelling.calibration.calibration import NORMAL_WIDTH
from utils.labelling.clip_rating import LONGEST_RATING_STEP
from utils.videos.face_video import FaceVideo

ELLIPSE_SCALE = 2.1460 / NORMAL_WIDTH
"""Radii of the ellipse that contains 90 % of two independent normal variables, in half-widths of their 90 % intervals:
sqrt(-2 ln 0.1) standard deviations over 1.645."""


def trace_data(session: Session, track: int) -> dict[str, Any]:
    """The traces of a track over the whole video for traces.js; all times in seconds.

    Returns:
        axes: for each axis its name and the reduced trace; span: start and end of the video; labels: the labelled
        frames; rating: for each axis points x in seconds and y of the rating, as it was given; gaps: start and end of
        stretches without the face; cuts: times of shot changes; suggestion: time of the suggested frame, or None.
    """
    labelled, estimate, timeline = session.tracks[track], session.estimate(track), session.timeline
    rows = np.searchsorted(timeline.frames, labelled.frames)
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    values, half_widths = estimate.values, estimate.half_widths
    times = labelled.clip.times
    return {
        "axes": [
            {"name": axis, **thin_trace(times, breaks, values[:, column], half_widths[:, column])}
            for column, axis in enumerate(AXES)
        ],
        "span": [float(timeline.times[0]), float(timeline.times[-1])],
        "labels": _label_data(session, track),
        "rating": _rating_data(session),
        "gaps": _gaps(timeline.times, rows),
        "cuts": shot_changes(session.face_video).tolist(),
        "suggestion": float(times[estimate.suggestion.frame_index]) if estimate.suggestion else None,
    }


def plane_data(session: Session, track: int, frame: int) -> dict[str, Any]:
    """Valence and arousal of a frame for plane.js.

    Returns:
        estimate; radii of its 90 % ellipse; label; expected: what the other labels predict where they contradict the
        label. Each is a pair, or None.
    """
    estimate, index = session.estimate(track), session.tracks[track].index_of(frame)
    label = session.labels.get((track, frame))
    scores = list(label[:2]) if label else None
    if index is None:
        return {"estimate": None, "radii": None, "label": scores, "expected": None}
    expected = _expected_values(estimate).get(index)
    if expected and scores:
        expected = [score if value is None else value for score, value in zip(scores, expected, strict=True)]
    return {
        "estimate": estimate.values[index].tolist(),
        "radii": (estimate.half_widths[index] * ELLIPSE_SCALE).tolist(),
        "label": scores,
        "expected": expected,
    }


def frame_summary(session: Session, track: int, frame: int) -> str:
    """Label and estimate of a frame as an HTML table."""
    estimate, index = session.estimate(track), session.tracks[track].index_of(frame)
    if index is None:
        return "<p class=secondary>no face to label in this frame</p>"
    label = session.labels.get((track, frame))
    expected = _expected_values(estimate).get(index, [None, None])
    rows = []
    for column, axis in enumerate(AXES):
        value, half_width = estimate.values[index, column], estimate.half_widths[index, column]
        score = signed(label[:2][column]) if label else "–"
        cell = f"<td>{signed(value)} ± {half_width:.2f}</td>"
        predicted = expected[column]
        if predicted is not None:
            cell = f"<td class=contradiction>other labels predict {signed(predicted)}</td>"
        rows.append(f"<tr><th scope=row>{axis}</th><td>{score}</td>{cell}</tr>")
    head = "<tr><td></td><th scope=col>label</th><th scope=col>estimate, 90 %</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def signed(score: float) -> str:
    """A score as text, with a true minus sign: +0.50, −0.25."""
    return f"{score:+.2f}".replace("-", "−")


def shot_changes(face_video: FaceVideo) -> np.ndarray:
    """(C,) seconds at which a new shot starts, as far as tracks show it: no track continues across a cut."""
    faces, timeline = face_video.faces, face_video.timeline
    tracks = faces[faces["track"] >= 0].groupby("track")["frame"].agg(["min", "max"])
    starts = sorted(set(tracks["min"]) - {timeline.frames[0]})
    cuts = [start for start in starts if not ((tracks["min"] < start) & (tracks["max"] >= start)).any()]
    return timeline.times[np.searchsorted(timeline.frames, np.array(cuts, int))]


def _label_data(session: Session, track: int) -> list[dict[str, Any]]:
    """Frame, time, values and expected values of each label of the track."""
    labelled, estimate = session.tracks[track], session.estimate(track)
    expected, rows = _expected_values(estimate), []
    for index in estimate.labelled.tolist():
        frame = int(labelled.frames[index])
        rows.append(
            {
                "frame": frame,
                "time": float(labelled.clip.times[index]),
                "values": list(session.labels[track, frame][:2]),
                "expected": expected.get(index, [None, None]),
            }
        )
    return rows


def _rating_data(session: Session) -> list[dict[str, list[float | None]]]:
    times, *axes = session.rating.T
    times = times.clip(*session.timeline.times[[0, -1]])  # A rating also lasts while the last frame is shown.
    breaks = np.flatnonzero(np.diff(times) > LONGEST_RATING_STEP) + 1
    thinned = [thin_trace(times, breaks, values, np.zeros(len(times))) for values in axes]
    return [{"x": trace["x"], "y": trace["mid"]} for trace in thinned]


def rating_text(session: Session) -> str:
    """What is rated, and how late: "rated 0:00 to 1:00, 2.1 s late"; empty without a rating."""
    if not len(session.rating):
        return ""
    start, end = (f"{int(seconds // 60)}:{int(seconds % 60):02}" for seconds in session.rating[[0, -1], 0])
    late = f", {session.rating_lag:.1f} s late" if session.rating_lag is not None else ""
    return f"rated {start} to {end}{late}"


def _expected_values(estimate: TrackEstimate) -> dict[int, list[float | None]]:
    """Index of each contradicted label → the values that the other labels predict; None on an axis that agrees."""
    expected: dict[int, list[float | None]] = {}
    for contradiction in estimate.contradictions:
        values = expected.setdefault(int(estimate.labelled[contradiction.anchor_index]), [None, None])
        values[AXES.index(contradiction.axis)] = float(contradiction.expected)
    return expected


def _gaps(times: np.ndarray, rows: np.ndarray) -> list[list[float]]:
    """Start and end in seconds of stretches of the video without the track's face, which is in `rows` (N,)."""
    absent = np.ones(len(times) + 2, bool)
    absent[[0, -1]] = False
    absent[rows + 1] = False
    edges = np.flatnonzero(np.diff(absent))
    return [[float(times[start]), float(times[min(end, len(times) - 1)])] for start, end in edges.reshape(-1, 2)]
