"""The calibration of fused labels: what is fitted, the coverage of intervals, and the file beside the checkpoint."""

import json

import numpy as np
import pytest
from simulated_clips import PARAMETERS, accurate_calibration, anchors_at, posteriors_given, simulate_clips

from utils.base.errors import CheckpointError
from utils.base.files import sha256_of_file
from utils.base.json_files import MAX_BYTES
from utils.labelling.calibration.calibration import (
    DEFAULT_CALIBRATION,
    NORMAL_WIDTH,
    AxisCalibration,
    Calibration,
    ForeignOffset,
    IntervalWidths,
    scaled_std,
)
from utils.labelling.calibration.file import (
    read_calibration,
    read_calibration_of_sources,
    save_calibration,
    save_calibration_of_sources,
)
from utils.labelling.calibration.fit_problems import CalibrationClip, simulate_support
from utils.labelling.calibration.fitting import fit_calibration
from utils.labelling.support import every_n
from utils.labelling.types import LabelObservations


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_worthless_evidence_gets_no_weight(rng):
    calibration = fit_calibration(simulate_clips(rng, 8, 40, 2.0))
    fused, linear = [], []
    for clip in simulate_clips(rng, 30, 50, 2.0):
        anchors = anchors_at(clip, [0, 20, 40])
        truth, labels = clip.labels[:, 0], anchors.labels[:, 0]
        fused.append(posteriors_given(clip, anchors, calibration)[0].mean - truth)
        linear.append(np.interp(clip.times, anchors.times, labels) - truth)
    assert np.sqrt(np.mean(np.square(fused))) <= 1.03 * np.sqrt(np.mean(np.square(linear)))


def test_intervals_have_their_nominal_coverage(rng):
    calibration, inside, total = accurate_calibration(), 0, 0
    for clip in simulate_clips(rng, 30, 60, 0.05):
        observations = LabelObservations(np.array([10, 40]), clip.labels[[10, 40], 0], np.zeros(2))
        posteriors = calibration.posteriors(clip.times, clip.evidence, [observations, observations])
        half_widths = calibration.half_widths(posteriors)[:, 0]
        unlabelled = np.setdiff1d(np.arange(60), observations.indices)
        inside += (np.abs(posteriors[0].mean - clip.labels[:, 0]) <= half_widths)[unlabelled].sum()
        total += len(unlabelled)
    assert 0.85 < inside / total < 0.95


def test_long_clips_and_missing_labels_can_be_fitted(rng):
    (clip,) = simulate_clips(rng, 1, 300, 0.1)
    clip.labels[::7] = np.nan
    calibration = fit_calibration([clip])
    for axis in calibration.axes:
        assert np.isfinite([*axis.with_evidence.process, *axis.with_evidence.sources[0]]).all()
    assert min(calibration.valence.interval_widths.widths) > 0


def test_sparse_labels_are_fitted_with_the_evidence_of_all_frames(rng):
    def fit(noise: float) -> Calibration:
        """Fit clips with every tenth frame labelled, whose evidence has this noise in all other frames as well."""
        clips = simulate_clips(np.random.default_rng(3), 10, 60, noise)
        return fit_calibration([clip._replace(labels=np.where(sparse, clip.labels, np.nan)) for clip in clips])

    sparse = (np.arange(60) % 10 == 4)[:, None]
    accurate, inaccurate = fit(0.05), fit(1.0)
    fitted = [one.valence.with_evidence.sources[0] for one in (accurate, inaccurate)]
    errors = [np.hypot(one.ou, one.observation_noise) for one in fitted]
    assert errors[0] < 0.1 < 0.3 < errors[1]
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    labels = np.where(sparse, clip.labels, np.nan)
    problem = next(simulate_support(clip._replace(labels=labels), 0, ((every_n, 2),)))
    labelled = np.flatnonzero(sparse)
    np.testing.assert_array_equal(problem.evidence, clip.evidence[labelled[0] : labelled[-1] + 1, :, 0])
    np.testing.assert_array_equal(problem.support + labelled[0], labelled[::2])
    np.testing.assert_array_equal(problem.targets + labelled[0], labelled[1::2])


def test_axis_without_labels_keeps_the_default_calibration(rng):
    clips = [clip._replace(labels=clip.labels * (1, np.nan)) for clip in simulate_clips(rng, 4, 30, 0.1)]
    calibration = fit_calibration(clips)
    assert calibration.arousal.interval_widths.widths == (NORMAL_WIDTH,)
    fitted, default = calibration.arousal.with_evidence, DEFAULT_CALIBRATION.arousal.with_evidence
    assert fitted.process == pytest.approx(default.process)
    assert fitted.sources[0] == pytest.approx(default.sources[0])


def test_calibration_fitted_on_constant_labels_can_be_saved_and_read(tmp_path):
    times = np.arange(30) / 25
    clips = [CalibrationClip(times, np.zeros((30, 1, 2)), np.full((30, 2), 0.5)) for _ in range(4)]
    calibration = fit_calibration(clips)
    (tmp_path / "best.pt").write_bytes(b"weights")
    save_calibration(tmp_path / "best.pt", calibration)
    assert read_calibration(tmp_path / "best.pt") == calibration
    assert min(calibration.valence.interval_widths.widths) >= NORMAL_WIDTH / 2


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "best.pt"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def calibration():
    noisy = PARAMETERS.sources[0]._replace(observation_noise=0.3, gain=0.5, bias=-0.1)
    time_only = PARAMETERS._replace(process=PARAMETERS.process._replace(matern=0.2), sources=())
    widths = IntervalWidths((0.1, 0.2), (1.6, 1.5)), IntervalWidths((0.1,), (1.7,))
    return Calibration(
        AxisCalibration(PARAMETERS, time_only, ForeignOffset(0.2, 0.3), widths[0]),
        AxisCalibration(
            PARAMETERS._replace(sources=(noisy, noisy)), time_only, ForeignOffset(0.1, 0.2), widths[1], 0.3
        ),
        clips=9,
        fitted_on="demo",
    )


def test_calibration_is_read_with_the_weights_that_it_was_fitted_for(checkpoint, calibration):
    assert read_calibration(checkpoint) is None
    save_calibration(checkpoint, calibration)
    assert read_calibration(checkpoint) == calibration
    path = checkpoint.with_name("calibration.json")
    content = json.loads(path.read_text())
    content["valence"]["parameters"]["evidence"][0]["observation_noise"] = float("nan")
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="calibration.json.*delete the file"):
        read_calibration(checkpoint)
    for broken in (b"[" * 10**5, b" " * (MAX_BYTES + 1), b"{"):
        path.write_bytes(broken)
        with pytest.raises(
            CheckpointError, match=r"calibration\.json: the calibration cannot be used \(is .*delete the file"
        ):
            read_calibration(checkpoint)
    save_calibration(checkpoint, calibration)
    path.write_text(path.read_text().replace('"clips": 9', '"clips": Infinity'))
    with pytest.raises(CheckpointError, match=r"calibration\.json: the calibration cannot be used"):
        read_calibration(checkpoint)
    checkpoint.write_bytes(b"other weights")
    assert read_calibration(checkpoint) is None


def test_calibration_of_several_sources_is_read_from_its_file(tmp_path, calibration):
    path = tmp_path / "calibration_of_two.json"
    assert read_calibration_of_sources(path) is None
    save_calibration_of_sources(path, calibration, ["mtclar", "tool"])
    assert read_calibration_of_sources(path) == calibration
    content = json.loads(path.read_text())
    assert content["sources"] == ["mtclar", "tool"]
    content["valence"]["time_only_prior"] = 2
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="calibration_of_two.json.*between 0 and 1"):
        read_calibration_of_sources(path)


def test_calibration_of_another_format_is_not_read(checkpoint, calibration):
    save_calibration(checkpoint, calibration)
    path = checkpoint.with_name("calibration.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    assert read_calibration(checkpoint) is None


def test_fusion_json_of_an_earlier_version_is_ignored(checkpoint, calibration):
    old = {"weights": sha256_of_file(checkpoint), "format": 2, "source": "demo", "clips": 9}
    for content in (json.dumps(old), "no JSON"):
        checkpoint.with_name("fusion.json").write_text(content)
        assert read_calibration(checkpoint) is None
    save_calibration(checkpoint, calibration)
    assert read_calibration(checkpoint) == calibration
    assert checkpoint.with_name("fusion.json").read_text() == "no JSON"


def test_anchors_of_more_people_leave_a_smaller_offset(calibration):
    stds = [calibration.for_foreign_anchors(people).valence.with_evidence.sources[0].offset for people in (1, 4, 1000)]
    assert stds[0] == pytest.approx(np.hypot(0.2, 0.3)) and stds[0] > stds[1] > stds[2]
    assert stds[2] == pytest.approx(0.2, rel=0.01)


def test_widths_are_interpolated_between_standard_deviations():
    widths = IntervalWidths((0.1, 0.4), (2.0, 1.0))
    np.testing.assert_allclose(widths.half_widths(np.array([0.05, 0.1, 0.2, 0.4, 0.8])), [0.1, 0.2, 0.3, 0.4, 0.8])


def test_intervals_for_noisy_labels_are_at_least_those_of_a_normal_variable(rng):
    narrow = IntervalWidths((0.1,), (NORMAL_WIDTH / 2,))
    axis = AxisCalibration(interval_widths=narrow)
    calibration = Calibration(axis, axis)
    (clip,) = simulate_clips(rng, 1, 60, 0.05)
    for error, factor in ((0.0, 0.5), (0.1, 1.0)):
        posteriors = posteriors_given(clip, anchors_at(clip, [10, 40], error), calibration)
        expected = np.stack([factor * NORMAL_WIDTH * scaled_std(posterior) for posterior in posteriors], 1)
        np.testing.assert_allclose(calibration.half_widths(posteriors), expected)
