"""Continuous ratings as evidence: lag, gain and bias of raters, files of ratings, and labels from ratings alone."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import label, labels_file, run_script
from simulated_clips import anchors_at, encoded, simulate_clips

from datasets.columns import BOX
from utils.annotate.label_file import LabelFile
from utils.annotate.rating_file import RatingFile
from utils.annotate.session import Session
from utils.config.labelling import LabelSettings
from utils.labelling.adaptation_report import log_adaptation
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION, DEFAULT_PARAMETERS
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clip_rating import ClipRating
from utils.labelling.labeller import Labeller
from utils.labelling.posterior.process import GPParameters
from utils.labelling.raters.rater import LAG_MEAN, PRIOR_LAG, PRIOR_RATING_PARAMETERS
from utils.labelling.raters.ratings import load_ratings
from utils.videos.face_video import FaceVideo, Track

FRAMES, LABELLED = 750, list(range(25, 750, 100))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def ou_process(rng, frames, std, seconds):
    """(frames,) values of an Ornstein-Uhlenbeck process, at 25 frames per second."""
    values, decay = rng.normal(0, std, frames), np.exp(-1 / 25 / seconds)
    for step in range(1, frames):
        values[step] = decay * values[step - 1] + np.sqrt(1 - decay**2) * values[step]
    return values


@pytest.fixture(scope="module")
def clips():
    """Clips of 30 s, whose evidence has the errors that a network without a calibration is assumed to have."""
    rng, error = np.random.default_rng(4), DEFAULT_PARAMETERS.sources[0]
    simulated = []
    for clip in simulate_clips(rng, 3, FRAMES, error.observation_noise):
        correlated = [ou_process(rng, FRAMES, error.ou, error.ou_seconds) for _ in range(2)]
        simulated.append(clip._replace(evidence=clip.evidence + np.stack(correlated, 1)[:, None]))
    return simulated


def make_labeller(raters=1, network=True):
    """A labeller for evidence of a network, if wanted, and for raters who are not fitted."""
    axes = []
    for axis in DEFAULT_CALIBRATION.axes:
        sources = axis.with_evidence.sources if network else ()
        parameters = GPParameters(axis.with_evidence.process, (*sources, *[PRIOR_RATING_PARAMETERS] * raters))
        axes.append(axis._replace(with_evidence=parameters))
    calibration = DEFAULT_CALIBRATION._replace(valence=axes[0], arousal=axes[1])
    uncalibrated = tuple(range(int(network), int(network) + raters))
    return Labeller(ClipEncoder(None, None), calibration, uncalibrated, (PRIOR_LAG,) * raters)


def rate(clip, rng, lag, gain=1.0, bias=0.0, std=0.1):
    """A rating with an error that is an Ornstein-Uhlenbeck process of 5 s."""
    late = [np.interp(clip.times - lag, clip.times, labels) for labels in clip.labels.T]
    return ClipRating([(clip.times, gain * one + bias + ou_process(rng, FRAMES, std, 5)) for one in late])


def rated(labeller, clip, *ratings, network=True):
    """The clip as the labeller encodes it, with the ratings as further evidence."""
    absolute = clip.evidence if network else clip.evidence[:, :0]
    return labeller.encode_clip(encoded(clip).embeddings, clip.times, absolute, ratings)


def fit(labeller, clips, ratings, labels=LABELLED, network=True):
    """The labeller, fitted to rated clips with labels at these frames."""
    pairs = [
        (rated(labeller, clip, *of_clip, network=network), anchors_at(clip, labels) if labels else None)
        for clip, of_clip in zip(clips, ratings, strict=True)
    ]
    return labeller.adapt(pairs)


def errors_of(labeller, clips, ratings, labels=LABELLED, network=True):
    """RMSE of fused labels on unlabelled frames."""
    errors = []
    for clip, of_clip in zip(clips, ratings, strict=True):
        anchors = anchors_at(clip, labels) if labels else None
        posteriors = labeller.posteriors(rated(labeller, clip, *of_clip, network=network), anchors)
        found = labeller.fused_labels(posteriors, anchors).values - clip.labels
        errors.append(np.delete(found, labels, 0))
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize("network", [True, False])
def test_lag_gain_and_bias_are_estimated_and_the_rating_helps(clips, rng, network):
    ratings = [(rate(clip, rng, 3.1, 0.7, 0.2),) for clip in clips]
    fitted = fit(make_labeller(1, network), clips, ratings, network=network)
    assert fitted.rater_lags[0].lag == pytest.approx(3.1, abs=0.2) and fitted.rater_lags[0].clips == len(clips)
    for axis in fitted.calibration.axes:
        parameters = axis.with_evidence.sources[-1]
        assert parameters.gain == pytest.approx(0.7, abs=0.15) and parameters.bias == pytest.approx(0.2, abs=0.12)
        assert 0.05 < np.hypot(parameters.ou, parameters.observation_noise) < 0.2
    without = errors_of(make_labeller(0, network), clips, [()] * len(clips), network=network)
    assert errors_of(fitted, clips, ratings, network=network) < 0.85 * without


def test_lag_is_found_without_labels_and_the_level_of_the_rating_is_kept(clips, rng):
    ratings = [(rate(clip, rng, 1.2, bias=0.15),) for clip in clips]
    fitted = fit(make_labeller(), clips, ratings, labels=[])
    assert fitted.rater_lags[0].lag == pytest.approx(1.2, abs=0.2)
    assert fitted.calibration.valence.with_evidence.sources[-1].bias == pytest.approx(0, abs=1e-6)


def test_useless_rating_does_no_harm(clips, rng):
    ratings = [(rate(other, rng, 1.0),) for other in clips[1:] + clips[:1]]
    fitted = fit(make_labeller(), clips, ratings)
    without = errors_of(make_labeller(0), clips, [()] * len(clips))
    assert errors_of(fitted, clips, ratings) < 1.05 * without


def test_axis_that_was_not_rated_is_labelled_as_without_the_rating(clips, rng):
    nothing = np.empty(0), np.empty(0)
    ratings = [(ClipRating([rate(clip, rng, 2.0).traces[0], nothing]),) for clip in clips]
    fitted, plain = fit(make_labeller(), clips, ratings), make_labeller(0)
    assert fitted.rater_lags[0].lag == pytest.approx(2.0, abs=0.2)
    anchors = anchors_at(clips[0], LABELLED)
    with_rating = fitted.posteriors(rated(fitted, clips[0], *ratings[0]), anchors)
    without = plain.posteriors(rated(plain, clips[0]), anchors)
    np.testing.assert_allclose(with_rating[1].mean, without[1].mean)
    assert np.abs(with_rating[0].mean - without[0].mean).max() > 0.01


def test_single_rating_without_anything_to_compare_is_taken_as_it_is(clips, rng, caplog):
    ratings = [(rate(clip, rng, LAG_MEAN, std=0.0),) for clip in clips]
    fitted = fit(make_labeller(network=False), clips, ratings, labels=[], network=False)
    assert fitted.rater_lags == (PRIOR_LAG,)
    log_adaptation(fitted, ["anna"], 0)
    assert "anna" in caplog.text and "label some frames" in caplog.text
    assert errors_of(fitted, clips, ratings, [], network=False) < 0.6 * np.std([clip.labels for clip in clips])
    labels = fitted.fused_labels(fitted.posteriors(rated(fitted, clips[0], *ratings[0], network=False), None), None)
    assert labels.half_widths.min() > 0.2
    inside = np.abs(labels.values - clips[0].labels) < labels.half_widths
    assert inside.mean() > 0.9


def test_consensus_of_raters_without_labels(clips, rng):
    clips = clips[:2]
    ratings = [[rate(clip, rng, lag, std=0.15) for lag in (1.5, 2.5, 3.5)] for clip in clips]
    fitted = fit(make_labeller(3, network=False), clips, ratings, labels=[], network=False)
    lags = [rater.lag for rater in fitted.rater_lags]
    assert np.mean(lags) == pytest.approx(LAG_MEAN) and np.diff(lags) == pytest.approx([1, 1], abs=0.2)
    plain = [np.mean([one.at(clip.times) for one in of_clip], 0) for clip, of_clip in zip(clips, ratings, strict=True)]
    error = np.sqrt(np.mean([(mean - clip.labels) ** 2 for mean, clip in zip(plain, clips, strict=True)]))
    assert errors_of(fitted, clips, ratings, [], network=False) < 0.85 * error


def test_someone_who_rated_some_of_the_clips_is_fitted_to_these(clips, rng):
    ratings = [(rate(clips[0], rng, 1.0), None), (None, rate(clips[1], rng, 3.0)), (None, None)]
    fitted = fit(make_labeller(2), clips, ratings)
    assert [rater.lag for rater in fitted.rater_lags] == pytest.approx([1, 3], abs=0.2)
    assert errors_of(fitted, clips[2:], ratings[2:]) == pytest.approx(
        errors_of(make_labeller(0), clips[2:], [()]), rel=0.05
    )


def test_page_fits_the_rating_before_the_first_label_and_again_to_labels(clips, rng, tmp_path):
    clip, rating = clips[0], rate(clips[0], rng, 3.0, bias=0.3, std=0.05)
    faces = pd.DataFrame({"frame": np.arange(FRAMES), "time": clip.times, "track": 0})
    faces = faces.assign(**dict.fromkeys(BOX, 1.0), score=0.9)
    track = Track(0, faces, encoded(clip).embeddings, clip.evidence, (rating,))
    video = FaceVideo(SimpleNamespace(name="clip", path="clip.mp4"), faces, [track])
    label_file, rating_file = LabelFile(tmp_path / "labels.csv", video.timeline, ""), RatingFile(tmp_path / "r.csv", "")
    session = Session(video, make_labeller(), label_file, rating_file)
    unlabelled = session.estimate(0).values
    assert session.labeller.rater_lags[0].lag == pytest.approx(3.0, abs=0.2)
    for frame in LABELLED:
        session.label(0, frame, *clip.labels[frame])
        values = session.estimate(0).values
    errors = [np.sqrt(np.mean((one - clip.labels) ** 2)) for one in (unlabelled, values)]
    assert errors[1] < 0.6 * errors[0]
    assert session.labeller.calibration.valence.with_evidence.sources[-1].bias > 0.05


def test_rating_has_no_value_outside_its_trace_and_in_its_gaps():
    times = np.array([1.0, 1.5, 2.0, 6.0, 6.5])
    rating = ClipRating([(times, np.array([0.0, 0.5, np.nan, 0.4, 0.4])), (times[:1], np.zeros(1))])
    values = rating.at(np.array([0.9, 1.25, 1.5, 3.0, 6.0, 6.25, 7.0]))
    np.testing.assert_allclose(values[:, 0], [np.nan, 0.25, 0.5, np.nan, 0.4, 0.4, np.nan])
    assert np.isnan(values[:, 1]).all()


def rating_file(path, start=0.0, columns="time,valence,arousal"):
    times = start + np.arange(80) / 10
    rows = [",".join([f"{time:.1f}", *["0.5"] * columns.count(",")]) for time in times]
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder whose videos are not read."""
    for name in ("talk.mp4", "talk_2.mp4"):
        (tmp_path / name).touch()
    return tmp_path


def test_files_are_matched_to_videos_and_raters_by_name(folder):
    rating_file(folder / "talk_anna_valence.csv", columns="time,valence")
    rating_file(folder / "talk_anna_arousal.csv", columns="time,arousal")
    rating_file(folder / "talk_2_anna.csv")
    rating_file(folder / "talk_ben.csv")
    labels_file(folder / "talk_labels.csv")
    rating_file(folder / "talk2_anna.csv")
    anna, ben = sorted(load_ratings(LabelSettings(video=folder, ratings=[folder])), key=lambda one: one.name)
    assert (anna.name, ben.name) == ("anna", "ben") and list(ben.videos) == [folder / "talk.mp4"]
    rated_axes = {video.name: sorted(axes) for video, axes in anna.videos.items()}
    assert rated_axes == {"talk.mp4": [0, 1], "talk_2.mp4": [0, 1]}
    assert len(anna.inputs) == 3 and ben.of_video(folder / "talk_2.mp4", [np.arange(3.0)]) is None
    single = load_ratings(LabelSettings(video=folder / "talk.mp4", ratings=[folder / "talk2_anna.csv"]))
    assert [one.name for one in single] == ["talk2_anna"]


@pytest.mark.parametrize(
    "names, given, message",
    [
        (["tal_anna.csv"], "tal_anna.csv", "its name begins with that of no video; rename it like talk_rater.csv"),
        ([], ".", "holds no rating of 'talk.mp4', 'talk_2.mp4'"),
        ([], "talk_anna.csv", "no such file"),
        (["talk_anna.csv", "talk_anna_valence.csv"], ".", "rating of valence by the same person"),
        (["talk_anna.txt"], "talk_anna.txt", "ratings are read from"),
    ],
)
def test_files_that_cannot_be_used(folder, names, given, message):
    for name in names:
        rating_file(folder / name)
    with pytest.raises(Exception, match=re.escape(message)):
        load_ratings(LabelSettings(video=folder, ratings=[folder / given]))


def test_video_is_labelled_from_a_rating_with_and_without_labels(quick, clip, tmp_path):
    rating = rating_file(tmp_path / "clip_anna.csv")
    alone = [*quick[2:], "--evidence", "ratings", "--video", clip, "--ratings", rating, "--data.cache", tmp_path]
    folder, printed = label(*alone)
    labels = pd.read_csv(folder / "labels.csv")
    assert labels["valence"].mean() == pytest.approx(0.5, abs=0.15) and not labels["support"].any()
    assert (labels["valence_low"] < labels["valence"]).sum() == 48 and "lag std" in printed and "anna" in printed
    folder, _ = label(*alone, "--labels", labels_file(tmp_path / "labels.csv", "frame,valence,arousal\n20,-0.5,0\n"))
    labels = pd.read_csv(folder / "labels.csv")
    assert labels.loc[20, "valence"] == -0.5 and labels["support"].sum() == 1
    folder, printed = label(*quick, "--video", clip, "--ratings", rating, "--suggest", 2)
    assert len(pd.read_csv(folder / "clip_to_label.csv")) == 2


@pytest.mark.parametrize(
    "start, options, message",
    [
        (50, [], "rates 50.0 to 57.9 s, but the face in .* is shown from 0.0 to 2.4 s"),
        (0, ["--support_set.rule", "nearest"], "support_set.rule nearest needs labels"),
    ],
)
def test_rating_that_cannot_label_a_video(quick, clip, tmp_path, start, options, message):
    rating = rating_file(tmp_path / "clip_anna.csv", start)
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", clip, "--ratings", rating, *options]))
    assert done.returncode == 2 and re.search(message, done.stderr)


def test_ratings_need_a_video(tmp_path):
    rating = str(rating_file(tmp_path / "clip_anna.csv"))
    for options, message in (
        (["--ratings", rating], "ratings is for a video of your own; name it by --video"),
        (["--evidence", "ratings", "--video", "clip.mp4"], "evidence names ratings, but there are none"),
        (["--calibrate", str(tmp_path), "--ratings", rating], "ratings does not go with calibrate"),
    ):
        done = run_script("fsl_mtclar.py", *options)
        assert done.returncode == 2 and message in done.stderr
