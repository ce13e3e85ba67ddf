"""Anchors of a clip by scope: which clips they come from, and what is known about them."""

import numpy as np
import pandas as pd
import pytest
import torch

from utils.base.errors import DataError, SettingsError
from utils.config.labelling import LabelSettings
from utils.config.layers import merge_layers
from utils.labelling.clip_anchors import clip_anchors, clips_in_scope
from utils.labelling.clips import DatasetClip
from utils.labelling.types import EncodedClip

LENGTHS = {"a1": 4, "b1": 6, "a2": 5, "c1": 3, "a3": 2}  # clip → frames; the first letter is the person


def settings_of(**support_set) -> LabelSettings:
    return merge_layers(LabelSettings, [("test", {"support_set": {"annotator_error": 0.1} | support_set})])


@pytest.fixture
def clips() -> list[DatasetClip]:
    """The labels of a frame are (number of its clip / 10, frame / 10); its embedding holds both numbers."""
    made = []
    for number, (name, length) in enumerate(LENGTHS.items()):
        frames = pd.DataFrame({"clip": name, "frame": np.arange(length), "subject": name[0]})
        frames = frames.assign(valence=number / 10, arousal=frames["frame"] / 10)
        embeddings = torch.tensor([[number, frame] for frame in range(length)], dtype=torch.float32)
        encoded = EncodedClip(embeddings, np.arange(length) / 25, np.zeros((length, 2)))
        made.append(DatasetClip(name, frames, encoded))
    return made


def anchors_of(clips, name, **support_set):
    return clip_anchors(None, clips, list(LENGTHS).index(name), settings_of(**support_set))


def sources(anchors) -> list[tuple[int, int]]:
    """Clip and frame of each anchor, as its embedding tells. Label and frame number must agree with it."""
    found = [tuple(row) for row in anchors.embeddings.int().tolist()]
    np.testing.assert_allclose(anchors.labels * 10, np.array(found))
    assert anchors.frames.tolist() == [frame for _, frame in found] and (anchors.errors == 0.1).all()
    return found


def test_person_chooses_over_all_clips_of_a_person(clips):
    for name, own in (("a1", 4), ("a2", 2), ("a3", 0)):
        anchors = anchors_of(clips, name, scope="person", strategy="first", amount=6)
        assert sources(anchors) == [(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (2, 1)]
        assert len(anchors.in_clip.indices) == own and np.isnan(anchors.times).all() and anchors.people == 1
    assert anchors_of(clips, "a2", scope="person", strategy="first", amount=6).indices.tolist() == [-1] * 4 + [0, 1]


@pytest.mark.parametrize("strategy", ["random_k", "every_n", "uniform_k", "diverse_k"])
def test_all_clips_of_a_person_have_the_same_labelled_frames(clips, strategy):
    found = [sources(anchors_of(clips, name, scope="person", strategy=strategy, amount=3)) for name in ("a1", "a2")]
    assert found[0] == found[1] and {clip for clip, _ in found[0]} <= {0, 2, 4}


def test_others_never_holds_a_frame_of_the_clip(clips):
    anchors = anchors_of(clips, "a2", scope="others", strategy="every_n", amount=1)
    assert sources(anchors) == [(0, frame) for frame in range(4)] + [(4, 0), (4, 1)] and anchors.none_in_clip
    anchors = anchors_of(clips, "b1", scope="others", strategy="every_n", amount=1)
    assert len({clip for clip, _ in sources(anchors)} & {0, 2, 4}) in (0, 3) and anchors.none_in_clip
    assert 1 not in {clip for clip, _ in sources(anchors)}


def test_others_draws_the_person_from_the_seed_and_needs_a_second_clip():
    settings = settings_of(scope="others")
    people = ["a", *"bcdefgh"]
    drawn = [clips_in_scope(people, index, settings) for index in range(8)]
    assert drawn == [clips_in_scope(people, index, settings) for index in range(8)]
    assert all(index not in chosen for index, chosen in enumerate(drawn)) and len({c for (c,) in drawn}) > 2
    with pytest.raises(DataError, match="at least two clips"):
        clips_in_scope(["a"], 0, settings)


def test_clip_is_the_default(clips):
    anchors = anchors_of(clips, "b1", strategy="every_n", amount=2)
    assert sources(anchors) == [(1, 0), (1, 2), (1, 4)] and anchors.all_in_clip and anchors.all_have_times


@pytest.mark.parametrize(
    "strategy, share, frames, expected",
    [("uniform_k", 0.2, 48, 10), ("uniform_k", 0.01, 48, 1), ("every_n", 0.05, 48, 20), ("random_k", None, 48, 7)],
)
def test_share_gives_the_amount(strategy, share, frames, expected):
    settings = settings_of(strategy=strategy, amount=7, share=share)
    assert settings.support_set.amount_for(frames) == expected


@pytest.mark.parametrize(
    "support_set, message",
    [
        ({"scope": "person", "rule": "previous"}, "rule previous needs labelled frames of the same clip"),
        ({"scope": "others", "strategy": "suggested"}, "strategy suggested does not choose among several clips"),
        ({"scope": "person", "strategy": "train_bins"}, "strategy train_bins does not choose"),
        ({"strategy": "train_bins", "share": 0.1}, "share is not used by strategy train_bins"),
    ],
)
def test_settings_that_do_not_go_together(support_set, message):
    with pytest.raises(SettingsError, match=message):
        settings_of(**support_set)
