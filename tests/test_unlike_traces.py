"""The label traces of the benchmark, and demo sets that are rendered with them."""

import json

import numpy as np
import pytest

from benchmarks.unlike_traces import UNLIKE_TRACES, steps
from datasets.afewva import read_afewva
from datasets.demo.dataset import render_demo


@pytest.mark.parametrize("name", UNLIKE_TRACES)
def test_traces_are_in_range_and_differ_between_axes_and_seeds(name):
    trace = UNLIKE_TRACES[name]
    first, again, other = (trace(np.random.default_rng(seed), 240) for seed in (1, 1, 2))
    assert first.shape == (240, 2) and np.abs(first).max() <= 1 and first.std() > 0.1
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[:, 0] - first[:, 1]).max() > 0.1 and np.abs(first - other).max() > 0.1


def test_demo_set_with_other_traces_replaces_one_with_the_usual_traces(tmp_path):
    def labels(**trace):
        render_demo(tmp_path / "demo", 5, 2, 20, 20, 32, workers=1, **trace)
        return read_afewva(tmp_path / "demo", None, 1.0, False)

    usual, other = labels(), labels(trace=steps)
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["trace"] == "steps"
    assert len(usual) == len(other) and (usual["valence"] != other["valence"]).any()
    rng = np.random.default_rng([5, 0, 1])  # the stream of the labels of the first person
    np.testing.assert_allclose(other["valence"][:20], steps(rng, 20)[:, 0].round(1), atol=1e-9)
