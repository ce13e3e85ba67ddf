"""Settings: precedence, invalid settings and their messages, the YAML files, and the help."""

import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from utils.base.errors import SettingsError
from utils.config.__main__ import SharedSettings, shipped_file
from utils.config.command_line import read_layers
from utils.config.labelling import LabelSettings
from utils.config.layers import merge_layers, setting_names
from utils.config.mtclar import PAPER, MtclarTrainingSettings
from utils.config.supervised import SLSettings, SLTrainingSettings
from utils.config.yaml_files import commented_yaml, resolved_yaml
from utils.runs.find import find_runs
from utils.runs.resume import load_settings
from utils.runs.trained import describe_network, label_settings, log_network

ROOT = Path(__file__).parents[1]
SCRIPTS = {"mtclar.py": MtclarTrainingSettings, "fsl_mtclar.py": LabelSettings, "mtclar_sl.py": SLSettings}


def load(*argv: str, file: str | None = None) -> MtclarTrainingSettings:
    return load_settings(MtclarTrainingSettings, "mtclar", file or str(ROOT / "config.yaml"), "", list(argv))


def load_labelling(*argv: str, file: str | None = None) -> LabelSettings:
    return merge_layers(LabelSettings, read_layers(LabelSettings, file or str(ROOT / "config.yaml"), "", list(argv)))


def load_supervised(*argv: str) -> SLSettings:
    return load_settings(SLSettings, "mtclar_sl", str(ROOT / "mtclar_sl_config.yaml"), "", list(argv))


def yaml_file(folder: Path, text: str, name: str = "my.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def script(*argv: str) -> subprocess.CompletedProcess:
    """A script in a process of its own, on a terminal of 80 columns."""
    environment = os.environ | {"COLUMNS": "80"}
    command = [sys.executable, *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


# Files and precedence


def test_shipped_files_hold_every_setting_with_its_description_and_default():
    for name in ("config.yaml", "mtclar_sl_config.yaml"):
        assert (ROOT / name).read_text() == shipped_file(name)
    assert commented_yaml(SharedSettings) in shipped_file("config.yaml")
    assert commented_yaml(SLTrainingSettings) in shipped_file("mtclar_sl_config.yaml")
    assert load() == MtclarTrainingSettings(_cli_parse_args=False)
    assert load_labelling() == LabelSettings(_cli_parse_args=False)


def test_shipped_files_hold_the_settings_of_both_scripts_that_share_one():
    shared = set(setting_names(SharedSettings))
    assert set(setting_names(MtclarTrainingSettings)) < shared
    assert {name for name in setting_names(LabelSettings) if "." in name} < shared


def test_module_prints_the_shipped_file():
    for name in ("config.yaml", "mtclar_sl_config.yaml"):
        assert script("-m", "utils.config", name).stdout == (ROOT / name).read_text()


def test_command_line_over_file_over_default(tmp_path):
    file = yaml_file(tmp_path, "train: {epochs: 7, lr: 0.5}\nseed: 3\n")
    settings = load("--train.epochs", "9", "--config", file)
    assert (settings.train.epochs, settings.train.lr, settings.seed, settings.train.batch) == (9, 0.5, 3, 48)


def test_file_counts_even_where_it_equals_the_default(tmp_path):
    assert MtclarTrainingSettings(_cli_parse_args=False).train.lr == 0.001 and PAPER["train"]["lr"] == 1e-4
    file = yaml_file(tmp_path, "train: {lr: 0.001, batch: 96}\n")
    assert load("--config", file).train.lr == 0.001
    # The preset is part of the command line, so it overrides every value of the file, default or not.
    paper = load("--config", file, "--preset", "paper")
    assert (paper.train.lr, paper.train.batch) == (1e-4, 256)
    assert load("--config", file, "--preset", "paper", "--train.lr", "0.001").train.lr == 0.001


def test_paper_preset_changes_all_its_settings_and_single_settings_override_it(tmp_path):
    settings = load("--preset", "paper", "--dataset", "afewva", "--train.epochs", "3")
    assert settings.train.epochs == 3
    assert (settings.data.image_size, settings.model.width, settings.train.batch) == (256, 256, 256)
    assert str(settings.model.emonet) == "data/emonet/emonet_8.pth" and settings.train.pairs == "sampled"
    paper = load("--preset", "paper").model_dump(mode="json")
    for section, values in PAPER.items():
        assert {key: paper[section][key] for key in values} == values
    # It does not matter where the option stands, nor what the file holds.
    assert load("--train.epochs", "3", "--dataset", "afewva", "--preset", "paper") == settings
    empty = yaml_file(tmp_path, "")
    assert load("--preset", "paper", file=empty).model_dump() == load("--preset", "paper").model_dump()
    other = yaml_file(tmp_path, "train: {epochs: 5}\nseed: 3\n")
    in_file = load("--preset", "paper", file=other)
    assert in_file.train.epochs == 40 and in_file.seed == 3 and in_file.train.batch == 256


def test_paper_preset_of_the_other_scripts():
    support = load_labelling("--preset", "paper", "--support_set.amount", "5").support_set
    assert (support.strategy, support.amount, support.rule) == ("every_n", 5, "previous")
    assert load_labelling().support_set.rule == "fused"
    assert load_supervised("--preset", "paper").train.schedule == "step"


@pytest.mark.parametrize("load_any", [load, load_labelling])
def test_preset_is_refused_in_a_file(tmp_path, load_any):
    for text in ("preset: paper", "preset: demo\ntrain: {epochs: 3}", (ROOT / "config.yaml").read_text() + "preset: x"):
        with pytest.raises(SettingsError) as error:
            load_any("--config", yaml_file(tmp_path, text))
        assert re.fullmatch(
            r".*my\.yaml: preset cannot be set in a file; delete this line and, for the paper's settings, "
            r"add --preset paper to the command line",
            str(error.value),
        )


def test_environment_variables_are_no_settings(monkeypatch):
    for name in ("NAME", "SEED", "DATA", "TRAIN", "RUNS"):
        monkeypatch.setenv(name, "77")
    assert load() == MtclarTrainingSettings(_cli_parse_args=False) and load().seed == 0


# Sections that two scripts share


def test_each_script_ignores_the_sections_of_the_other_in_the_shared_file(tmp_path):
    text = "train: {lr: 0.5}\nmodel: {width: 32}\npairs: {test: 9}\nsupport_set: {amount: 3}\nseed: 4\n"
    settings = load_labelling(file=yaml_file(tmp_path, text))
    assert (settings.support_set.amount, settings.seed) == (3, 4)
    assert not {"train", "model", "pairs"} & set(LabelSettings.model_fields)
    trained = load(file=yaml_file(tmp_path, text))
    assert (trained.train.lr, trained.model.width, trained.seed) == (0.5, 32, 4)
    assert "support_set" not in MtclarTrainingSettings.model_fields


@pytest.mark.parametrize(
    "load_any, text, message",
    [
        (
            load_labelling,
            "train: {epoch: 3}",
            r"my\.yaml: there is no setting train\.epoch; did you mean train\.epochs",
        ),
        (load_labelling, "train: {epochs: 0}", r"my\.yaml: train\.epochs: .*greater than or equal to 1, got 0"),
        (load_labelling, "train: 3", r"my\.yaml: train: must be a section of `name: value` lines, got 3"),
        (load_labelling, "trian: {epochs: 3}", r"my\.yaml: there is no setting trian"),
        (load_labelling, "head: {dropout: 0}", r"there is no setting head here; head is a setting of mtclar_sl\.py"),
        (load, "support_set: {rul: mean}", r"no setting support_set\.rul; did you mean support_set\.rule"),
        (load, "support_set: {strategy: csv}", r"my\.yaml: support_set: .*name it by support_set\.csv"),
        (load, "video: a.mp4", r"my\.yaml: there is no setting video here; video is a setting of fsl_mtclar\.py"),
    ],
)
def test_ignored_sections_are_checked_and_other_keys_refused(tmp_path, load_any, text, message):
    with pytest.raises(SettingsError, match=message):
        load_any("--config", yaml_file(tmp_path, text))


@pytest.mark.parametrize(
    "load_any, name, other",
    [
        (load_labelling, "train.lr", "mtclar.py"),
        (load_labelling, "model.width", "mtclar.py"),
        (load_labelling, "pairs.test", "mtclar.py"),
        (load_labelling, "train", "mtclar.py"),
        (load, "support_set.rule", "fsl_mtclar.py"),
        (load, "video", "fsl_mtclar.py"),
        (load, "task", "mtclar_sl.py"),
        (load_supervised, "train.pairs", "mtclar.py"),
        (load_supervised, "suggest", "fsl_mtclar.py"),
    ],
)
def test_settings_of_another_script_are_refused_by_its_name(load_any, name, other):
    with pytest.raises(SettingsError, match=rf"{re.escape(name)} is a setting of {re.escape(other)}"):
        load_any(f"--{name}", "3")


# Run folders


def test_resolved_settings_read_back_the_same(tmp_path):
    settings = load("--preset", "paper", "--train.lr", "0.01", "--data.root", "some/where", "--data.cache", "null")
    (tmp_path / "settings.yaml").write_text(resolved_yaml(settings))
    assert load(file=str(tmp_path / "settings.yaml")) == settings
    assert settings.data.cache is None
    assert load("--train.resume", str(tmp_path)).model_dump(exclude={"runs", "train"}) == settings.model_dump(
        exclude={"runs", "train"}
    )


@pytest.mark.parametrize("content", ["format: 2\ntrain: {epochs: 11}\nseed: 5\n", "seed: 5\nformat: 2\n"])
def test_resume_takes_the_settings_of_the_run(tmp_path, content):
    yaml_file(tmp_path, content, "settings.yaml")
    settings = load("--train.resume", str(tmp_path))
    assert (settings.train.epochs, settings.seed, settings.train.resume) == (11, 5, tmp_path)
    for change in (["--seed", "6"], ["--preset", "paper"]):
        with pytest.raises(SettingsError, match="in the run to resume, and a resumed run keeps its settings"):
            load("--train.resume", str(tmp_path), *change)
    assert load("--train.resume", str(tmp_path), "--runtime.device", "cpu").runtime.device == "cpu"


def test_resume_in_a_file_takes_the_settings_of_the_run_too(tmp_path):
    yaml_file(tmp_path, "format: 2\ntrain: {epochs: 11}\n", "settings.yaml")
    other = yaml_file(tmp_path, f"train: {{epochs: 3, resume: {tmp_path}}}\n", "other.yaml")
    assert load("--config", other).train.epochs == 11


def test_runs_of_older_and_newer_versions_are_not_resumed(tmp_path):
    def refused(text: str) -> str:
        yaml_file(tmp_path, text, "settings.yaml")
        with pytest.raises(SettingsError) as error:
            load("--train.resume", str(tmp_path))
        return str(error.value)

    older = "dataset: demo\npreset: demo\nname: ''\nseed: 0\ntrain: {epochs: 11, error_exponent: 8.0}\n"
    wanted = "this run was made by an older version of MT-CLAR; start a new run, or resume it with version 0.1"
    assert refused(older) == f"{tmp_path / 'settings.yaml'}: {wanted}"
    assert "format is 3, but this version of MT-CLAR reads format 2 only" in refused("format: 3\nseed: 0\n")
    assert "format is True" in refused("format: true\n") and "format is 2.0" in refused("format: 2.0\n")
    with pytest.raises(SettingsError, match=r"my\.yaml: format is 1, but"):
        load("--config", yaml_file(tmp_path, "format: 1\n"))


def test_latest_is_the_newest_run_of_this_name_and_these_settings(tmp_path):
    argv = ["--runs", str(tmp_path), "--train.resume", "latest", "--name"]
    runs = tmp_path / "mtclar"
    for number, (name, epochs) in enumerate([("a", 3), ("b", 3), ("a", 3), ("ab", 3), ("a", 4), ("a", 3)]):
        folder = runs / f"2026-01-0{number + 1}_10-00-00_{name}"
        folder.mkdir(parents=True)
        settings = load("--runs", str(tmp_path), "--name", name, "--train.epochs", str(epochs))
        (folder / "settings.yaml").write_text(resolved_yaml(settings))
        if number < 5:  # The last one has no checkpoint yet: older ones with a checkpoint are preferred.
            (folder / "last.pt").write_text("")
    for day, text in ((8, resolved_yaml(load()).replace("format: 2\n", "")), (9, "of: another version")):
        folder = runs / f"2026-01-0{day}_10-00-00_a"
        folder.mkdir()
        (folder / "last.pt").write_text("")
        (folder / "settings.yaml").write_text(text)
    found = [load(*argv, name, "--train.epochs", "3").train.resume for name in ("a", "b", "c")]
    assert found == [runs / "2026-01-03_10-00-00_a", runs / "2026-01-02_10-00-00_b", None]
    (runs / "2026-01-03_10-00-00_a" / "last.pt").unlink()
    (runs / "2026-01-01_10-00-00_a" / "last.pt").unlink()
    assert load(*argv, "a", "--train.epochs", "3").train.resume == runs / "2026-01-06_10-00-00_a"  # killed early
    assert load(*argv, "a", "--train.epochs", "4").train.resume == runs / "2026-01-05_10-00-00_a"


def test_runs_are_found_by_their_whole_name(tmp_path):
    for name in ("exp", "exp+2", "exp-2", "my_exp", "exp2"):  # +2: the second run of this name in the same second
        (tmp_path / f"2026-01-01_10-00-00_{name}").mkdir()
        (tmp_path / f"2026-01-01_10-00-00_{name}" / "best.pt").touch()
    found = {name: [path.name[20:] for path in find_runs(tmp_path, name)] for name in ("exp", "exp-2", "2")}
    assert found == {"exp": ["exp+2", "exp"], "exp-2": ["exp-2"], "2": []}


# The trained network that a script starts from


def trained_on(dataset: str, **data: object) -> dict:
    """The settings in a checkpoint, as a version that had the key preset wrote them."""
    settings = MtclarTrainingSettings(_cli_parse_args=False, dataset=dataset, data=data).model_dump(mode="json")
    return settings | {"preset": "demo", "support_set": {}}


def test_labelling_keeps_the_data_and_split_of_the_network():
    trained = trained_on("afewva", root="my/films", fold=2, image_size=128) | {"seed": 5}
    layers = read_layers(LabelSettings, str(ROOT / "config.yaml"), "", ["--support_set.amount", "3"])
    settings = label_settings(layers, Path("best.pt"), trained)
    assert (settings.dataset, settings.data_root, settings.data.fold, settings.seed) == (
        "afewva",
        Path("my/films"),
        2,
        5,
    )
    assert settings.data.image_size == 128 and settings.support_set.amount == 3
    layers = read_layers(LabelSettings, str(ROOT / "config.yaml"), "", ["--seed", "6"])
    with pytest.raises(SettingsError, match="seed is 5 in best.pt, not 6: .*people that the network was trained on"):
        label_settings(layers, Path("best.pt"), trained)


@pytest.mark.parametrize(
    "argv, file, root, aspect",
    [
        (["--dataset", "afewva"], "", "data/AfewVA", 1.0),
        (["--dataset", "afewva", "--data.root", "b"], "", "b", 1.0),
        (["--dataset", "afewva"], "data: {root: c}", "data/AfewVA", 1.0),
        (["--dataset", "afewva"], "dataset: afewva\ndata: {root: c, pixel_aspect: 1.4}", "c", 1.4),
        (["--dataset", "demo"], "dataset: afewva\ndata: {root: c}", "a", 1.2),
        ([], "dataset: afewva\ndata: {root: c}", "a", 1.2),
    ],
)
def test_another_data_set_is_looked_for_in_its_own_folder(tmp_path, argv, file, root, aspect):
    layers = read_layers(LabelSettings, yaml_file(tmp_path, file), "", argv)
    trained = trained_on("demo", root="a", pixel_aspect=1.2, image_size=128, fold=3)
    settings = label_settings(layers, Path("best.pt"), trained)
    assert (settings.data_root, settings.data.pixel_aspect) == (Path(root), aspect)
    assert (settings.data.image_size, settings.data.fold) == (128, 3)  # those of the network all the same


def test_the_network_is_logged_in_one_line(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path, settings = tmp_path / "best.pt", MtclarTrainingSettings(_cli_parse_args=False).model_dump(mode="json")
    path.touch()
    os.utime(path, (0, time.mktime((2026, 1, 3, 10, 20, 0, 0, 0, -1))))
    log_network(path, {"settings": settings, "epoch": 7, "scores": {"loss": 0.12345}})
    line = f"network: {path}, trained on demo, validation loss 0.1235 after epoch 7, saved 2026-01-03 10:20"
    assert caplog.messages == [line]
    for broken in ({}, {"settings": []}, {"settings": 3, "scores": {"loss": "x"}}, {"scores": None}):
        assert re.fullmatch(r"network: .*best\.pt, saved .*", describe_network(path, broken))
    assert "loss" not in describe_network(path, {"settings": settings, "epoch": 7})  # last.pt holds no scores


# Invalid settings


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--train.epoch", "3"], "no setting train.epoch; did you mean train.epochs"),
        (["--train.epochs=3", "--modle.width=3"], "no setting modle.width; did you mean model.width"),
        (["--presett", "paper"], "no setting presett; did you mean preset"),
        (["--train.epochs", "many"], "^command line: train.epochs: Input should be a valid integer.*got 'many'"),
        (["--train.epochs", "0"], "^command line: train.epochs: .*greater than or equal to 1, got '0'"),
        (["--dataset", "affect"], "dataset: .*'demo', 'afewva', 'affectnet' or 'videos'"),
        (["--preset", "papre"], "--preset: invalid choice: 'papre' .*paper"),
        (["--preset", "demo"], "--preset: invalid choice: 'demo' .*paper"),
        (["--data.image_size", "100"], "data.image_size: .*multiple of 64"),
        (["--train.batch", "50"], "train.batch 50 is not a multiple of train.subjects 48"),
        (["--train.batch", "2", "--train.subjects", "0"], "train.batch must be 3 or more"),
        (["--model.emonet", "x.pth"], "published weights need model.width 256, not 64"),
        (["--model.emonet", "x.pth", "--model.init", "best.pt"], "both name weights to start from"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["stray"], "stray"),
        (["--train.epochs"], "expected one argument"),
    ],
)
def test_wrong_command_lines_are_refused(argv, message):
    with pytest.raises(SettingsError, match=message):
        load(*argv)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--support_set.strategy", "train_bins", "--support_set.rule", "nearest"], "use mean, weighted or fused"),
        (["--support_set.strategy", "csv"], "command line: support_set: .*name it by support_set.csv"),
        (["--support_set.csv", "a.csv"], "csv is not used by strategy every_n; set support_set.strategy to csv"),
        (["--labels", "a.csv"], "labels is for a video of your own; name it by --video"),
        (["--annotate", "a.mp4", "--video", "a.mp4"], "video does not go with annotate; leave it out"),
        (["--annotate", "a.mp4", "--people", "p.csv"], "people does not go with annotate, which keeps people.csv in"),
        (["--annotator", "ann"], "name the video by --annotate"),
        (["--evidence", "mtclar,mtclar"], "names mtclar twice"),
        (["--evidence", "a.csv", "--support_set.rule", "mean"], "rule mean needs MT-CLAR; add mtclar"),
        (["--evidence", "a.csv", "--support_set.strategy", "diverse_k"], "diverse_k needs MT-CLAR; add mtclar"),
        (["--evidence", "a.csv", "--checkpoint", "best.pt"], "checkpoint is not used; leave it out"),
        (["--evidence", "a.csv", "--support_set.scope", "others"], "scope others needs MT-CLAR; add mtclar"),
        (["--evidence", "mtclar,"], "evidence has an empty name"),
        (["--calibrate", "videos", "--fps", "25"], "fps does not go with calibrate; set data.fps"),
        (["--calibrate", "videos", "--detect_every", "1"], "detect_every does not go with calibrate; leave it out"),
        (["--encode_every", "3"], "encode_every is for a video of your own; name it by --video"),
        (["--video", "a.mp4", "--encode_every", "3", "--support_set.rule", "mean"], "rule mean compares every face"),
        *(
            (
                ["--video", "a.mp4", "--encode_every", value],
                f"^command line: encode_every: must be auto or a whole number from 1 to 12, got '{value}'$",
            )
            for value in ("often", "0", "13", "2.5", "")
        ),
        *(
            (
                ["--support_set.annotator_error", value],
                f"^command line: support_set.annotator_error: must be auto or a number from 0 to 1, got '{value}'$",
            )
            for value in ("often", "1.5", "-0.1", "nan", "true", "")
        ),
    ],
)
def test_wrong_command_lines_for_labelling_are_refused(argv, message):
    with pytest.raises(SettingsError, match=message):
        load_labelling(*argv)


def test_annotator_error_is_a_number_or_auto(tmp_path):
    assert load_labelling().support_set.annotator_error == "auto" and load_labelling().support_set.known_error == 0
    for value in ("auto", "0", "0.05", "1"):
        support = load_labelling("--support_set.annotator_error", value).support_set
        assert support.annotator_error == (value if value == "auto" else float(value))
        in_file = load_labelling(file=yaml_file(tmp_path, f"support_set: {{annotator_error: {value}}}\n")).support_set
        assert in_file.annotator_error == support.annotator_error
    assert load_labelling("--support_set.annotator_error", "0.05").support_set.known_error == 0.05
    refused = script("fsl_mtclar.py", "--support_set.annotator_error", "often")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "must be auto or a number from 0 to 1, got 'often'" in refused.stderr
    with pytest.raises(SettingsError, match="annotator_error: must not be true or false|must be auto or a number"):
        load_labelling(file=yaml_file(tmp_path, "support_set: {annotator_error: yes}\n"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("train: {epoch: 3}", "no setting train.epoch; did you mean train.epochs"),
        ("trian: {epochs: 3}", "no setting trian; did you mean train"),
        ("train: {error_exponent: 3}", "no setting train.error_exponent; did you mean train.mse_exponent"),
        ("train: {epochs: x}", r"my.yaml: train.epochs: .*got 'x'"),
        ("train: 3", r"my.yaml: train: must be a section of `name: value` lines, got 3"),
        ("seed: 4294967296", r"my.yaml: seed: .*less than 4294967296"),
        ("seed: true", r"my.yaml: seed: must not be true or false"),
        ("train: {lr: .nan}", "train.lr: "),
        ("- a\n- b", "name: value"),
        ("a: [", "not valid YAML.*; correct the file"),
        ("!!python/object/apply:os.system [echo]", "not valid YAML"),
        ("[" * 100_000, "not valid YAML"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        load("--config", yaml_file(tmp_path, text))


def test_errors_of_single_settings_name_the_source_and_others_name_all_sources(tmp_path):
    file = yaml_file(tmp_path, "train: {batch: 50}\nseed: -1\n")
    with pytest.raises(SettingsError) as error:
        load("--config", file, "--train.lr", "-1")
    lines = str(error.value).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [[file, "seed"], ["command line", "train.lr"]]
    with pytest.raises(SettingsError, match=rf"^{re.escape(file)} and command line: train\.batch 50 is not a multiple"):
        load("--config", file, "--seed", "0")


# Help


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_fits_on_one_screen(name):
    code = f"import sys, {name[:-3]} as s\ntry: s.main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    done = script("-c", code, "--help")
    assert done.returncode == 0 and done.stderr.strip() == "False"
    assert len(done.stdout.splitlines()) <= 42 and "--help-all shows all settings" in done.stdout
    shown = re.findall(r"^  --([\w.]+)", done.stdout, re.MULTILINE)
    assert tuple(shown) == SCRIPTS[name].short_help and 9 < len(shown) < 13


def test_help_of_labelling_shows_what_a_newcomer_needs():
    shown = script("fsl_mtclar.py", "-h").stdout
    assert "python fsl_mtclar.py --video" in shown and "How the labelled frames of each clip are chosen" in shown
    for name in ("video", "labels", "suggest", "annotate", "checkpoint", "dataset", "data.root", "config"):
        assert f"\n  --{name} " in shown
    assert "{previous,nearest,mean,weighted,fused}" in shown and "(default: fused)" in shown
    assert "--seed" not in shown and "train." not in shown


@pytest.mark.parametrize("option", ["--help-all", "--help_all"])
def test_full_help_lists_every_setting_with_its_default(option):
    for name, kind in SCRIPTS.items():
        done = script(name, option)
        assert done.returncode == 0
        listed = set(re.findall(r"--([\w.]+)", done.stdout))
        assert set(setting_names(kind)) | {"config", "preset"} <= listed
    assert "Learning rate of Adam. (default: 0.001)" in " ".join(done.stdout.split())
    assert "--train" not in script("fsl_mtclar.py", option).stdout


def test_every_setting_is_described():
    for kind in SCRIPTS.values():
        for name in setting_names(kind):
            section, _, key = name.rpartition(".")
            fields = type(kind.model_fields[section].default).model_fields if section else kind.model_fields
            assert fields[key].description.rstrip().endswith("."), name


def test_errors_end_a_script_with_one_message_and_code_2():
    done = script("mtclar.py", "--train.epoch", "3")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and "train.epochs" in done.stderr
    assert yaml.safe_load((ROOT / "config.yaml").read_text())["dataset"] == "demo"
