"""Checks of an archive: the bound holds as often as stated; draws, files and errors of `fsl_mtclar.py --check`."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import label, labels_file, run_script

from datasets.columns import AXES
from utils.labelling.check import bound_error, draw_frames


def simulate_archive(rng, tails: float) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors and predictive variances (N, 2) of 40 clips of 50 frames; small `tails` mean heavy tails.

    The error of a clip differs from the expected one by a factor that follows an inverse-gamma distribution.
    """
    variances = rng.uniform(0.002, 0.03, (40, 1, 2)) * rng.uniform(0.3, 1.7, (40, 50, 2))
    factors = tails / rng.gamma(tails, size=(40, 1, 1))
    squares = np.minimum(variances * factors * rng.normal(size=variances.shape) ** 2, 4)
    return squares.reshape(-1, 2), variances.reshape(-1, 2)


@pytest.mark.parametrize("tails", [2, 3, 30])
@pytest.mark.parametrize("count", [20, 60])
def test_bound_holds_in_935_of_1000_archives(tails, count):
    rng, holds, ratios = np.random.default_rng(1), [], []
    for _ in range(1000):
        squares, variances = simulate_archive(rng, tails)
        draw = draw_frames(variances, count, rng)
        for axis in range(2):
            real = np.sqrt(squares[:, axis].mean())
            upper = bound_error(squares[draw.indices, axis], draw.weights).upper
            holds.append(upper >= real)
            ratios.append(upper / real)
    assert np.reshape(holds, (-1, 2)).sum(0).min() >= 935
    assert np.median(ratios) < (1.4 if count == 60 else 1.9)


def test_estimate_is_unbiased_even_if_the_expected_errors_are_wrong():
    rng = np.random.default_rng(2)
    squares = rng.exponential(0.01, 500)
    variances = rng.uniform(0.001, 0.02, (500, 2))
    means = [bound_error(squares[draw.indices], draw.weights).rmse ** 2 for draw in draws_of(variances, 40, rng, 3000)]
    assert np.mean(means) == pytest.approx(squares.mean(), rel=0.02)


def draws_of(variances, count, rng, repetitions):
    return (draw_frames(variances, count, rng) for _ in range(repetitions))


def test_frames_are_drawn_in_proportion_to_their_expected_error_from_all_parts():
    rng = np.random.default_rng(3)
    variances = np.repeat([[1.0, 1.0], [3.0, 3.0]], 500, 0)
    hits = np.bincount(np.concatenate([draw.indices for draw in draws_of(variances, 20, rng, 500)]), minlength=1000)
    share = hits[500:].sum() / hits.sum()
    assert share == pytest.approx(3**0.75 / (1 + 3**0.75), abs=0.005)
    assert hits[:500].max() < 20 and hits[500:].min() > 0


def test_more_frames_give_a_tighter_bound_and_no_bound_exceeds_what_labels_can_differ_by():
    squares = np.random.default_rng(4).exponential(0.01, 1000)
    few, many = (bound_error(squares[:count], np.ones(count)) for count in (20, 1000))
    assert few.rmse < few.upper and many.upper / many.rmse < 1.12 < few.upper / few.rmse
    assert bound_error(np.full(20, 4.0), np.ones(20)).upper == 2
    assert bound_error(np.zeros(20), np.ones(20)) == (0, 0)


@pytest.fixture(scope="module")
def archive(clip, tmp_path_factory):
    """A folder of two videos with labels."""
    folder = tmp_path_factory.mktemp("archive")
    for name in ("a", "b"):
        shutil.copy(clip, folder / f"{name}.mp4")
        labels_file(folder / f"{name}_labels.csv")
    return folder


@pytest.fixture(scope="module")
def drawn(quick, archive):
    """The run folder of a check of 30 frames, and what was printed."""
    return label(*quick, "--video", archive, "--check", 30)


def fill(drawn, folder, change=lambda table: table):
    """Copy a check, with labels that are 0.1 above the estimates of valence and 0.2 below those of arousal."""
    template = pd.read_csv(drawn[0] / "check_to_label.csv")
    estimates = np.array([one["estimate"] for one in json.loads((drawn[0] / "check.json").read_text())["frames"]])
    template[list(AXES)] = np.clip(estimates + [0.1, -0.2], -1, 1)
    shutil.copy(drawn[0] / "check.json", folder)
    change(template).to_csv(folder / "filled.csv", index=False)
    return folder / "filled.csv"


def test_draw_leaves_out_given_labels_and_shows_no_estimate(drawn, quick, archive):
    folder, printed = drawn
    table, content = pd.read_csv(folder / "check_to_label.csv"), json.loads((folder / "check.json").read_text())
    assert list(table) == ["video", "track", "frame", "time", "valence", "arousal"]
    assert table[list(AXES)].isna().all(axis=None) and set(table["video"]) == {"a", "b"}
    assert not table["frame"].isin([3, 20, 40]).any() and not table.duplicated().any()
    assert sum(one["draws"] for one in content["frames"]) == 30 and f"{content['population']} frames" in printed
    assert content["population"] == 2 * (48 - 3)
    assert (folder / "a_check.png").exists() and (folder / "b_check.png").exists()
    assert not (folder / "labels.csv").exists()
    again, printed = label("--from_manifest", folder / "manifest.json", *quick[2:4])
    assert (again / "check.json").read_bytes() == (folder / "check.json").read_bytes()
    assert "files are equal" in printed


def test_filled_check_gives_the_bound_and_its_labels_can_be_used(drawn, quick, archive, tmp_path):
    filled = fill(drawn, tmp_path)
    folder, printed = label(*quick, "--video", archive, "--check", filled)
    table = pd.read_csv(folder / "check.csv").set_index("axis")
    content = json.loads((drawn[0] / "check.json").read_text())
    assert table["expected RMSE"].tolist() == pytest.approx(content["expected"], rel=1e-5)
    weights = np.repeat([one["weight"] for one in content["frames"]], [one["draws"] for one in content["frames"]])
    errors = np.array([0.1, 0.2]) * np.sqrt(weights.mean())
    assert table["RMSE"].tolist() == pytest.approx(errors, rel=1e-4)
    assert (table["upper bound at 95%"] > table["RMSE"]).all()
    assert "before the labels of the check are used" in printed
    merged = pd.read_csv(folder / "a_labels.csv")
    assert len(merged) == 3 + sum(one["video"] == "a" for one in content["frames"])
    labelled, _ = label(*quick, "--video", archive, "--labels", folder)
    assert pd.read_csv(labelled / "index.csv")["support"].sum() == 6 + len(content["frames"])


def half_filled(table):
    table.loc[len(table) // 2 :, list(AXES)] = np.nan
    return table


def twice(table):
    return pd.concat([table, table[:1]])


@pytest.mark.parametrize(
    "change, message",
    [
        (
            half_filled,
            r"filled\.csv: \d+ of \d+ frames have no label, the first is frame \d+ of track 0 of '[ab]'; label",
        ),
        (lambda table: table[1:], r"1 of \d+ frames have no label"),
        (twice, r"filled\.csv row \d+: frame \d+ of track 0 of 'a' occurs twice"),
        (lambda table: table.assign(frame=3), r"row 2: frame 3 of track 0 of 'a' was not drawn; .* another check"),
        (lambda table: table.assign(valence=7), r"row 2: valence 7 is outside"),
        (lambda table: table.assign(track=""), r"row 2: has no track"),
        (lambda table: table.drop(columns="video"), r"column 'video' is missing"),
    ],
)
def test_check_file_that_is_incomplete_or_of_another_draw_is_refused(
    drawn, quick, archive, tmp_path, change, message, refused
):
    refused(message, "--video", archive, "--check", fill(drawn, tmp_path, change))


@pytest.fixture
def refused(quick):
    """Run fsl_mtclar.py, which must refuse its input with a message, and write no run folder."""

    def run(message: str, *argv: object) -> None:
        done = run_script("fsl_mtclar.py", *map(str, [*quick, *argv]))
        assert done.returncode == 2 and "run folder" not in done.stdout and "Traceback" not in done.stderr
        assert re.search(message, done.stderr), done.stderr

    return run


def test_check_of_other_labels_videos_or_draws_is_refused(drawn, quick, archive, tmp_path, refused):
    filled = fill(drawn, tmp_path)
    moved = shutil.copytree(archive, tmp_path / "moved")
    label(*quick, "--video", moved, "--check", filled)  # The files are the same, only elsewhere.
    labels_file(moved / "a_labels.csv", "frame,valence,arousal\n5,0.1,0.1\n")
    refused(r"was drawn for other labels, videos or networks \(.*a_labels\.csv has changed\)", "--video", moved,
            "--check", filled)  # fmt: skip
    refused(r"b\.mp4 is missing", "--video", archive / "a.mp4", "--check", filled)
    (tmp_path / "check.json").write_text(json.dumps({"format": 9, "inputs": [], "population": 1, "expected": [1, 1],
                                                     "frames": []}))  # fmt: skip
    refused("has format 9", "--video", archive, "--check", filled)
    (tmp_path / "check.json").write_text("{}")
    refused("is not the draw of a check .* keep filled.csv beside", "--video", archive, "--check", filled)
    (tmp_path / "check.json").unlink()
    refused("check.json: cannot be read", "--video", archive, "--check", filled)
    refused("there is no such file; name the filled-in", "--video", archive, "--check", tmp_path / "missing.csv")


def test_more_frames_than_there_are_cannot_be_drawn(quick, archive, refused):
    refused("only 90 frames are without a label", "--video", archive, "--check", 90)


def test_video_that_cannot_be_used_is_left_out_and_named(quick, archive, tmp_path):
    shutil.copytree(archive, tmp_path / "broken")
    labels_file(tmp_path / "broken" / "b_labels.csv", "frame,valence,arousal\n3,5,-2\n")
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", tmp_path / "broken", "--check", 30]))
    assert done.returncode == 2 and "b_labels.csv row 2" in done.stderr and "from 45 frames" in done.stdout


def test_video_without_labels_is_left_out_and_named(quick, archive, tmp_path):
    shutil.copy(archive / "a_labels.csv", tmp_path)
    done = run_script("fsl_mtclar.py", *map(str, [*quick, "--video", archive, "--labels", tmp_path, "--check", 30]))
    assert done.returncode == 2 and "from 45 frames" in done.stdout
    assert "b.mp4: has neither labels nor a rating" in done.stderr


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--check", 60], "check is for a video of your own"),
        (["--video", "a.mp4", "--check", 5], "check 5 must be 20 to 10000"),
        (["--video", "a.mp4", "--check", 60, "--suggest", 3], "suggest does not go with check"),
        (["--video", "a.mp4", "--check", 60, "--support_set.rule", "previous"], "use the rule fused"),
        (["--annotate", "a.mp4", "--check", 60], "check does not go with annotate"),
    ],
)
def test_settings_of_a_check(argv, message, refused):
    refused(message, *argv)
