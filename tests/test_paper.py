"""The paper's protocol, benchmarks/paper.py, on a tiny data set in the forms in which AFEW-VA circulates."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import FRAMES, PEOPLE, SHORT, ScriptResult, run_script
from published import emonet_state

from benchmarks.paper import data_hash, parse_options
from benchmarks.protocol import steps
from benchmarks.protocol.results import KEYS, summarise
from benchmarks.protocol.steps import Runner, Step
from benchmarks.protocol.tables import score_table
from utils.base.errors import SettingsError
from utils.config.supervised import HEAD
from utils.labelling.anchors import BASELINES, RULES
from utils.runs.run_folder import RunFolder

OTHER_DATA = "demo"


@pytest.fixture(scope="module")
def films(tiny_demo, tmp_path_factory) -> Path:
    """A set in AFEW-VA's layout: labels as floats, numbers as ids and actors, nested parts, .jpg, missing files."""
    root = tmp_path_factory.mktemp("films")
    clips = sorted(path for path in tiny_demo.iterdir() if path.is_dir())
    for number, clip in enumerate(clips):
        copy = root / "AFEW-VA" / f"{number % 3 + 1:02}" / clip.name
        shutil.copytree(clip, copy)
        document = json.loads((clip / f"{clip.name}.json").read_text())
        # One actor has two clips.
        document |= {"video_id": number, "actor": max(number, 1) if number % 2 else str(max(number, 1))}
        for labels in document["frames"].values():
            labels |= {axis: float(labels[axis]) for axis in ("valence", "arousal")}
        (copy / f"{clip.name}.json").write_text(json.dumps(document))
    shutil.copy(tiny_demo / "expressions.csv", root)
    image = root / "AFEW-VA" / "01" / clips[0].name / "00001.png"
    cv2.imwrite(str(image.with_suffix(".jpg")), cv2.imread(str(image)))
    image.unlink()
    (root / "AFEW-VA" / "02" / clips[1].name / "00004.png").unlink()
    (root / "AFEW-VA" / "03" / "999").mkdir()
    shutil.copy(image.parent / "00000.png", root / "AFEW-VA" / "03" / "999")
    return root


@pytest.fixture(scope="module")
def argv(films, sl_demo, tmp_path_factory) -> list[str]:
    """Command line of the protocol with two folds and one budget."""
    settings = {
        "dataset": "afewva",
        "data.root": films,
        "cross": OTHER_DATA,
        "cross_root": sl_demo,
        "demo.seed": 100,
        "demo.people": PEOPLE,
        "demo.frames": FRAMES,
        "demo.short_frames": SHORT,
        "model.width": 16,
        "train.epochs": 1,
        "train.batch": 8,
        "train.epoch_size": 16,
        "pairs.validation": 20,
        "pairs.test": 30,
        "data.image_size": 64,
        "data.workers": 0,
        "data.cache": sl_demo.parent / "cache",
        "runtime.precision": "float32",
        "runtime.device": "cpu",
        "sl.train.epochs": 1,
        "runs": tmp_path_factory.mktemp("paper"),
    }
    return ["--folds", "0", "1", "--budgets", "0.3", *(f"--{name}={value}" for name, value in settings.items())]


def run_protocol(*argv: str) -> ScriptResult:
    return run_script("benchmarks.paper", *argv)


@pytest.fixture(scope="module")
def protocol(argv, project_root) -> tuple[Path, str]:
    """Folder of the runs of the whole protocol, and its standard output."""
    with pytest.MonkeyPatch.context() as patch:  # Figures of the scripts take longer than all else here.
        patch.setattr(RunFolder, "save_figure", lambda run, name, _: run.path / name)
        done = run_protocol(*argv)
    assert done.returncode == 0, done.stderr
    return Path(argv[-1].removeprefix("--runs=")), done.stdout


@pytest.fixture(scope="module")
def project_root():
    """Scripts find their default settings files in the working folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parents[1])
        yield


def read_table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "tables" / name, comment="#")


def test_every_strategy_rule_baseline_and_network_is_scored_in_every_fold(protocol):
    summary = read_table(protocol[0], "summary.csv")
    own = summary[
        (summary["part"] == "labelling") & (summary["scope"] == "clip") & (summary["strategy"] != "train_bins")
    ]
    assert set(own["strategy"]) == {"first", "every_n", "random_k", "uniform_k", "diverse_k", "suggested"}
    for _, rows in own.groupby(["strategy", "average"]):
        assert set(rows["method"]) == {*RULES, *BASELINES}
    elsewhere = summary[summary["scope"].isin(["person", "others"])]
    assert set(zip(elsewhere["scope"], elsewhere["strategy"], strict=True)) == {
        (scope, strategy) for scope in ("person", "others") for strategy in ("first", "random_k")
    }
    assert {"train_bins"} < set(summary["strategy"]) and HEAD in set(summary["method"])
    assert set(summary.loc[summary["part"] == "across data sets", "method"]) == {*RULES, *BASELINES}
    assert set(summary["average"]) == {"pooled", "clips"} and (summary["folds"] == 2).all()
    assert summary["valence_RMSE"].notna().all() and summary["labels"].notna().all()
    fused = summary[(summary["method"] == "fused") & (summary["scope"] == "clip")]
    assert fused[["valence_coverage", "arousal_width"]].notna().all().all()
    assert set(read_table(protocol[0], "expression.csv")["method"]) > {HEAD}


def test_tables_agree_with_the_run_folders_and_name_their_provenance(protocol):
    folder, _ = protocol
    folds = read_table(folder, "folds.csv")
    (run,) = folder.glob("fsl_mtclar/*_fold1_every_n_0.3")
    expected = pd.read_csv(run / "scores.csv").set_index(["method", "average"])
    rows = folds[(folds["fold"] == 1) & (folds["strategy"] == "every_n") & (folds["part"] == "labelling")]
    rows = rows.set_index(["method", "average"])
    np.testing.assert_allclose(rows["arousal_RMSE"], expected.loc[rows.index, "arousal_RMSE"], rtol=1e-5)
    text = (folder / "tables" / "tables.md").read_text()
    assert text.count("### ") == text.count("*afewva, 11 people") and text.count("### Strategies") == 2
    assert all("# afewva" in (folder / "tables" / name).read_text() for name in ("folds.csv", "people.csv"))
    image = cv2.imread(str(folder / "tables" / "curve.png"))
    assert image is not None and image.std() > 10


def test_nobody_who_was_seen_is_tested(protocol):
    folder, printed = protocol
    people = read_table(folder, "people.csv")
    assert {"encoder and comparison heads", "calibration", "head for expression"} < set(people["part"])
    assert (people["in both"] == 0).all() and people["people tested"].between(2, 3).all()
    assert "what each part has seen: no tested person" in printed
    tested = set()
    for fold in range(2):
        (run,) = folder.glob(f"mtclar_sl/*_fold{fold}_valence_arousal")
        tested |= set(pd.read_csv(run / "predictions.csv", dtype=str)["clip"])
    assert people.groupby("fold")["people tested"].first().sum() in (len(tested), len(tested) - 1)


@pytest.mark.parametrize("script, part", [("mtclar/*_fold0", "encoder"), ("mtclar_sl/*_fold0_expression", "head for")])
def test_a_part_that_has_seen_tested_people_is_refused(protocol, argv, script, part):
    (run,) = protocol[0].glob(script)
    file = run / "settings.yaml"
    before = file.read_text()
    settings = yaml.safe_load(before)
    settings["data"]["fold"] = 1
    file.write_text(yaml.safe_dump(settings))
    done = run_protocol(*argv)
    file.write_text(before)
    assert done.returncode == 2 and re.search(f"fold 0: .*{part}.* has seen . of . tested people", done.stderr)


def test_a_run_with_the_network_of_another_fold_is_refused(protocol, argv):
    (run,) = protocol[0].glob("fsl_mtclar/*_fold0_first_0.3")
    (other,) = protocol[0].glob("mtclar/*_fold1")
    file = run / "manifest.json"
    before = file.read_text()
    content = json.loads(before)
    content["settings"]["checkpoint"] = str(other / "best.pt")
    file.write_text(json.dumps(content))
    done = run_protocol(*argv)
    file.write_text(before)
    assert done.returncode == 2 and "fold 0: encoder and comparison heads has seen" in done.stderr


def test_a_calibration_of_another_split_counts_as_contaminated(protocol, argv):
    (run,) = protocol[0].glob("mtclar/*_fold0")
    (run / "calibration.json").write_text(json.dumps({"source": "afewva films, fold 1, seed 0"}))
    done = run_protocol(*argv)
    (run / "calibration.json").unlink()
    assert done.returncode == 2 and "fold 0: calibration has seen" in done.stderr


def test_a_second_call_runs_nothing(protocol, argv, monkeypatch):
    before = read_table(protocol[0], "summary.csv")
    monkeypatch.setattr(Runner, "_call", lambda *_: pytest.fail("run again"))
    done = run_protocol(*argv)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(read_table(protocol[0], "summary.csv"), before)


def test_short_tables_are_written_between_the_marks_of_a_page(protocol, argv, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before `<!-- tables -->`\n<!-- tables -->\nearlier\n<!-- end of tables -->\nafter\n")
    assert run_protocol(*argv, "--docs", str(page)).returncode == 0
    text = page.read_text()
    assert text.startswith("before `<!-- tables -->`\n<!-- tables -->\n\n###") and text.endswith(
        "<!-- end of tables -->\nafter\n"
    )
    assert "earlier" not in text and len(text) < len((protocol[0] / "tables" / "tables.md").read_text())
    page.write_text("no marks\n")
    done = run_protocol(*argv, "--docs", str(page))
    assert done.returncode == 2 and "add them" in done.stderr and page.read_text() == "no marks\n"


def test_emonet_is_the_zero_shot_row(protocol, argv, tmp_path, monkeypatch):
    estimates = "utils.labelling.clips.clip_evidence"  # EmoNet itself would take seconds
    monkeypatch.setattr(estimates, lambda _, clips, *__: [np.full((len(clip[1]), 1, 2), 0.25) for clip in clips])
    torch.save(emonet_state(), tmp_path / "emonet_8.pth")
    alone = [word for word in argv if not word.startswith("--cross")]
    alone[alone.index("1")] = "--model.emonet=null"  # one fold; the networks are still trained from scratch
    done = run_protocol(*alone, "--emonet", str(tmp_path / "emonet_8.pth"))
    assert done.returncode == 0, done.stderr
    summary = read_table(protocol[0], "summary.csv")
    rows = summary[summary["method"] == "EmoNet"]
    folds = read_table(protocol[0], "folds.csv")
    pooled = folds[(folds["method"] == "EmoNet") & (folds["average"] == "pooled")].iloc[0]
    (labels,) = (pd.read_csv(run / "labels.csv") for run in protocol[0].glob("fsl_mtclar/*_fold0_zero_shot"))
    assert pooled["frames"] == len(labels)  # Frames with a given label are scored, too: EmoNet does not know it.
    expected = np.sqrt(np.mean((0.25 - labels["valence_true"]) ** 2))
    assert pooled["valence_RMSE"] == pytest.approx(expected, rel=1e-4)
    assert rows["average"].tolist() == ["pooled", "clips"] and (rows["labels"] == 0).all()
    assert "published EmoNet" in set(read_table(protocol[0], "people.csv")["part"])


# Steps


@pytest.fixture
def script(monkeypatch):
    """Replace the scripts by one that writes an empty run folder; its list holds the names of all runs."""
    called: list[str] = []

    def main():
        words = dict(zip(steps.sys.argv[1::2], steps.sys.argv[2::2], strict=True))
        called.append(words["--name"])
        run = Path(words["--runs"]) / "mtclar" / f"2026-01-01_00-00-{len(called):02}_{words['--name']}"
        run.mkdir(parents=True)
        if words.get("--seed") == "13":
            raise KeyboardInterrupt
        (run / "scores.json").touch()

    monkeypatch.setattr(steps.importlib, "import_module", lambda _: SimpleNamespace(main=main))
    return called


def test_steps_run_once_until_their_command_line_or_run_folder_changes(script, tmp_path):
    one, other = (Step(name, "mtclar", {"seed": "1"}) for name in ("one", "other"))
    runs = [Runner(tmp_path, "data", 2).run(step) for step in (one, other, one)]
    assert script == ["one", "other"] and runs[0] == runs[2] != runs[1]
    assert Runner(tmp_path, "data", 2).run(one._replace(options={"seed": "2"})).name.endswith("03_one")
    shutil.rmtree(runs[1])
    Runner(tmp_path, "data", 2).run(other)
    assert script == ["one", "other", "one", "other"]
    with pytest.raises(SettingsError, match="other data .*name another folder by --runs"):
        Runner(tmp_path, "new data", 2)


def test_an_interrupted_step_is_run_again_and_finished_ones_are_not(script, tmp_path):
    one, other = Step("one", "mtclar", {"seed": "1"}), Step("other", "mtclar", {"seed": "13"})
    runner = Runner(tmp_path, "data", 2)
    runner.run(one)
    with pytest.raises(KeyboardInterrupt):
        runner.run(other)
    runner = Runner(tmp_path, "data", 2)
    runner.run(one)
    with pytest.raises(KeyboardInterrupt):
        runner.run(other)
    assert script == ["one", "other", "other"]


# Options and tables


def test_options_are_settings_of_the_scripts():
    words = ["--train.epochs", "3", "--data.root=a b", "--demo.hard", "--seed", "-1"]
    expected = {"train.epochs": "3", "data.root": "a b", "demo.hard": None, "seed": "-1"}
    assert parse_options(words) == expected
    for wrong in (["--epochs", "3"], ["--train.epochs", "3", "4"], ["word"]):
        with pytest.raises(SettingsError, match="command line: "):
            parse_options(wrong)


def test_data_hash_depends_on_labels_but_not_on_the_folder():
    frames = pd.DataFrame({"path": ["a", "b"], "clip": "c", "frame": [0, 1], "valence": [0.1, 0.2]})
    assert data_hash(frames) == data_hash(frames.assign(path=["x", "y"])) == data_hash(frames[::-1])
    assert data_hash(frames) != data_hash(frames.assign(valence=[0.1, 0.3]))


def test_summary_is_mean_and_standard_deviation_over_folds_and_counts_constant_clips():
    keys = dict(zip(KEYS, ("labelling", "clip", "first", 1.0, "fused", "clips"), strict=True))
    scores = {
        f"{axis}_{name}": [0.1, 0.3] for axis in ("valence", "arousal") for name in ("RMSE", "PCC", "CCC", "SAGR")
    }
    constant = {"valence_constant_clips": [1, 2], "arousal_constant_clips": [0, 0]}
    table = pd.DataFrame({"fold": [0, 1], "labels": [1.0, 2.0], **scores, **constant}).assign(**keys)
    (row,) = summarise(table).to_dict("records")
    assert row["valence_RMSE"] == pytest.approx(0.2) and row["valence_RMSE_std"] == pytest.approx(
        np.std([0.1, 0.3], ddof=1)
    )
    assert row["valence_constant_clips"] == 3 and row["folds"] == 2 and row["labels"] == 1.5
    text = score_table(summarise(table))
    assert (
        "| first, 1 frame | fused | 1.5 | 0.200 ± 0.141 / 0.200 ± 0.141 |" in text
        and "3 in valence, 0 in arousal" in text
    )
