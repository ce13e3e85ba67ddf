"""What the browser is told, as plain lists and numbers."""

import numpy as np

from datasets.annotations import AXES
from utils.annotate.session import Clip, Session, View, shot_changes
from utils.annotate.thin import thinned
from utils.fused.fusion import NORMAL

JOINT = 2.1460 / NORMAL  # of two independent axes: an ellipse this much wider than the margins holds 90 %


def trace_state(session: Session, track: int) -> dict:
    """Both traces of a track over the whole video, labels, gaps, cuts and the next suggestion; times in seconds."""
    clip, view, timeline = session.clips[track], session.view(track), session.timeline
    rows = np.searchsorted(timeline.frames, clip.frames)
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    times = clip.seen.times
    axes = [
        {"name": axis, **thinned(times, breaks, view.labels.values[:, place], view.labels.margins[:, place])}
        for place, axis in enumerate(AXES)
    ]
    span = [float(timeline.times[0]), float(timeline.times[-1])]
    return {
        "axes": axes, "span": span, "marks": _marks(session, track, clip, view),
        "gaps": _gaps(timeline.times, rows), "cuts": shot_changes(session.video).tolist(),
        "next": float(times[view.next.place]) if view.next else None,
    }  # fmt: skip


def plane_state(session: Session, track: int, frame: int) -> dict:
    """Estimate, its 90 % ellipse and the label of a frame."""
    clip, view = session.clips[track], session.view(track)
    place, mark = clip.place(frame), session.marks.get((track, frame))
    estimate = radii = None
    if place is not None:
        estimate, radii = view.labels.values[place].tolist(), (view.labels.margins[place] * JOINT).tolist()
    expected = _expected(view).get(place)
    if expected:
        expected = [said if known is None else known for said, known in zip(mark[:2], expected, strict=True)]
    return {
        "estimate": estimate, "radii": radii, "label": list(mark[:2]) if mark else None, "expected": expected,
    }  # fmt: skip


def readings(session: Session, track: int, frame: int) -> str:
    """The same in words, as HTML."""
    clip, view = session.clips[track], session.view(track)
    place, mark = clip.place(frame), session.marks.get((track, frame))
    if place is None:
        return "<p class=quiet>no face to label here</p>"
    expected, rows = _expected(view).get(place, [None, None]), []
    for axis, name in enumerate(AXES):
        value, margin = view.labels.values[place, axis], view.labels.margins[place, axis]
        said = f"{mark[axis]:+.2f}" if mark else "–"
        estimate = f"<td>{value:+.2f} ± {margin:.2f}</td>"
        if expected[axis] is not None:
            estimate = f"<td class=contradiction>others expect {expected[axis]:+.2f}</td>"
        rows.append(f"<tr><th scope=row>{name}</th><td>{said}</td>{estimate}</tr>")
    head = "<tr><td></td><th scope=col>label</th><th scope=col>estimate, 90 %</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _marks(session: Session, track: int, clip: Clip, view: View) -> list[dict]:
    expected, found = _expected(view), []
    for place in view.places.tolist():
        frame = int(clip.frames[place])
        mark = session.marks[track, frame]
        found.append({
            "frame": frame, "time": float(clip.seen.times[place]), "label": list(mark[:2]),
            "expected": expected.get(place, [None, None]),
        })  # fmt: skip
    return found


def _expected(view: View) -> dict[int, list[float | None]]:
    """Place of a contradicted label → what the others expect of each axis; None where they do not contradict."""
    found: dict[int, list[float | None]] = {}
    for doubt in view.doubts:
        entry = found.setdefault(int(view.places[doubt.anchor]), [None, None])
        entry[AXES.index(doubt.axis)] = float(doubt.expected)
    return found


def _gaps(times: np.ndarray, rows: np.ndarray) -> list[list[float]]:
    """Stretches of the video, in seconds, without the track's face; rows (N,): where it is."""
    absent = np.ones(len(times) + 2, bool)
    absent[[0, -1]] = False
    absent[rows + 1] = False
    edges = np.flatnonzero(np.diff(absent))
    return [[float(times[start]), float(times[min(end, len(times) - 1)])] for start, end in edges.reshape(-1, 2)]
