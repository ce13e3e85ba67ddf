"""From a file of labels to the support-set of each track of a video."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from datasets.annotations import AXES
from datasets.frames import DataError
from utils.fused.agreement import label_error
from utils.labelling import Anchors
from utils.videos.face_video import FaceVideo, Track

ERRORS = [f"{axis}_error" for axis in AXES]


class Placed(NamedTuple):
    """Labels of a video, put to the tracks that they mean."""

    single: pd.DataFrame
    """A row a label: track, frame, annotator, valence, arousal, and where it stands (file and row)."""
    means: pd.DataFrame
    """A row a labelled (track, frame): annotators averaged, and the standard deviations of the means."""


def place_labels(labels: pd.DataFrame, seen: FaceVideo, annotator_error: float = 0.0) -> Placed:
    """labels: as `read_labels` gives them. annotator_error: least standard deviation of one person's label.

    Where annotators share frames, their spread about the mean of a frame is the error of every single label.
    Raises DataError for a label on a frame without a face, or where it is not clear whose face is meant.
    """
    chosen = {track.number for track in seen.tracks}
    rows = []
    for label in labels.itertuples():
        here = set(seen.faces.loc[(seen.faces["frame"] == label.frame) & (seen.faces["track"] >= 0), "track"])
        wanted = (here & chosen) if pd.isna(label.track) else ({int(label.track)} & here)
        if not wanted:
            raise DataError(f"{label.where}: {_why_not(label, here, chosen)}")
        if len(wanted) > 1:
            raise DataError(
                f"{label.where}: frame {label.frame} shows tracks {', '.join(map(str, sorted(wanted)))}; "
                "say in a column `track` whom the label means, or choose one by --track"
            )
        for track in wanted & chosen:
            rows.append((track, label.frame, label.annotator, label.valence, label.arousal, label.where))
    single = pd.DataFrame(rows, columns=["track", "frame", "annotator", *AXES, "where"])
    if single.empty:
        raise DataError("none of the labels is of a chosen track; choose another one by --track")
    twice = single[single.duplicated(["track", "frame", "annotator"], keep=False)]
    if len(twice):
        first, second = twice["where"].iloc[:2]
        raise DataError(f"{second}: frame {twice['frame'].iloc[0]} of this face already has a label, {first}; delete "
                        "one, or name annotators")  # fmt: skip
    groups = single.groupby(["track", "frame"])
    means, counts = groups[list(AXES)].mean(), groups.size().to_numpy()
    error = np.maximum(label_error(single), annotator_error)
    means[ERRORS] = error / np.sqrt(counts)[:, None]
    return Placed(single, means.reset_index())


def anchors_of(track: Track, seen: FaceVideo, means: pd.DataFrame) -> Anchors:
    """The support-set of a track: its own labels, or those of all other tracks where nobody has labelled it."""
    own = means[means["track"] == track.number]
    return _own_anchors(track, own) if len(own) else _all_anchors(seen, means)


def _own_anchors(track: Track, means: pd.DataFrame) -> Anchors:
    places = np.searchsorted(track.faces["frame"].to_numpy(), means["frame"].to_numpy())
    return Anchors(
        track.embeddings[torch.from_numpy(places)], means[list(AXES)].to_numpy(np.float64),
        means[ERRORS].to_numpy(np.float64), track.faces["time"].to_numpy()[places], means["frame"].to_numpy(), places,
    )  # fmt: skip


def _all_anchors(seen: FaceVideo, means: pd.DataFrame) -> Anchors:
    """The labels of all tracks, ascending in time, for a track without any: differences hold between people too."""
    tracks = [(track, means[means["track"] == track.number]) for track in seen.tracks]
    parts = [_own_anchors(track, own) for track, own in tracks if len(own)]
    columns = [np.concatenate(column) for column in zip(*(part[1:5] for part in parts), strict=True)]
    order = np.argsort(columns[2], kind="stable")
    labels, errors, times, frames = (column[order] for column in columns)
    embeddings = torch.cat([part.embeddings for part in parts])[torch.from_numpy(order)]
    return Anchors(embeddings, labels, errors, times, frames, np.full(len(order), -1))


def _why_not(label, here: set[int], chosen: set[int]) -> str:
    if not here:
        return f"frame {label.frame} shows no face; label another frame"
    there = f"frame {label.frame} shows track {', '.join(map(str, sorted(here)))}"
    if pd.isna(label.track):
        others = ", ".join(map(str, sorted(chosen)))
        return f"{there}, but {others} is to be labelled; label another frame, or choose another --track"
    return f"{there}, not {label.track}; correct the column `track`, or label another frame"
