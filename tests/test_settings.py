"""Settings: what counts over what, what is refused and how, and that they are documented once."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from utils.config import commented_yaml, load_settings, resolved_yaml
from utils.errors import SettingsError
from utils.settings import PAPER, Settings

ROOT = Path(__file__).parents[1]


def load(*argv: str, file: str | None = None) -> Settings:
    return load_settings(Settings, "mtclar", file or str(ROOT / "config.yaml"), "", list(argv))


def yaml_file(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text)
    return str(path)


def test_shipped_file_holds_every_setting_with_its_meaning_and_default():
    shipped = (ROOT / "config.yaml").read_text()
    assert commented_yaml(Settings) in shipped
    assert load() == Settings(_cli_parse_args=False)


def test_command_line_over_file_over_default(tmp_path):
    file = yaml_file(tmp_path, "train: {epochs: 7, lr: 0.5}\nseed: 3\n")
    settings = load("--train.epochs", "9", "--config", file)
    assert (settings.train.epochs, settings.train.lr, settings.seed, settings.train.batch) == (9, 0.5, 3, 48)


def test_paper_preset_switches_everything_at_once_and_single_settings_override_it(tmp_path):
    settings = load("--preset", "paper", "--dataset", "afewva", "--train.epochs", "3")
    assert settings.train.epochs == 3
    assert (settings.data.image_size, settings.model.width, settings.train.batch) == (256, 256, 256)
    assert str(settings.model.emonet) == "data/emonet/emonet_8.pth" and settings.train.pairs == "sampled"
    paper = load("--preset", "paper").model_dump(mode="json")
    for section, values in PAPER.items():
        assert {key: paper[section][key] for key in values} == values
    shipped = (ROOT / "config.yaml").read_text().replace("preset: demo", "preset: paper")
    assert load(file=yaml_file(tmp_path, shipped)).model_dump() == load("--preset", "paper").model_dump()
    changed = load(file=yaml_file(tmp_path, shipped.replace("batch: 48", "batch: 64")))
    assert changed.train.batch == 64 and changed.train.epochs == 40
    in_file = load(file=yaml_file(tmp_path, "preset: paper\ntrain: {epochs: 5}\n"))
    assert in_file.train.epochs == 5 and in_file.train.batch == 256


def test_resolved_settings_read_back_the_same(tmp_path):
    settings = load("--preset", "paper", "--train.lr", "0.01", "--data.root", "some/where", "--data.cache", "null")
    (tmp_path / "settings.yaml").write_text(resolved_yaml(settings))
    assert load(file=str(tmp_path / "settings.yaml")) == settings
    assert settings.data.cache is None


def test_resume_takes_the_settings_of_the_run(tmp_path):
    yaml_file(tmp_path, "train: {epochs: 11}\nseed: 5\n")
    settings = load("--train.resume", str(tmp_path))
    assert (settings.train.epochs, settings.seed, settings.train.resume) == (11, 5, tmp_path)


def test_latest_is_the_newest_run_of_this_name_and_these_settings(tmp_path):
    argv = ["--runs", str(tmp_path), "--train.resume", "latest", "--name"]
    runs = tmp_path / "mtclar"
    for number, (name, epochs) in enumerate([("a", 3), ("b", 3), ("a", 3), ("ab", 3), ("a", 4), ("a", 3)]):
        folder = runs / f"2026-01-0{number + 1}_10-00-00_{name}"
        folder.mkdir(parents=True)
        settings = load("--runs", str(tmp_path), "--name", name, "--train.epochs", str(epochs))
        (folder / "settings.yaml").write_text(resolved_yaml(settings))
        if number < 5:  # the last one has no checkpoint yet: older ones with one go before it
            (folder / "last.pt").write_text("")
    (runs / "2026-01-09_10-00-00_a").mkdir()
    (runs / "2026-01-09_10-00-00_a" / "last.pt").write_text("")
    (runs / "2026-01-09_10-00-00_a" / "settings.yaml").write_text("of: another version")
    found = [load(*argv, name, "--train.epochs", "3").train.resume for name in ("a", "b", "c")]
    assert found == [runs / "2026-01-03_10-00-00_a", runs / "2026-01-02_10-00-00_b", None]
    (runs / "2026-01-03_10-00-00_a" / "last.pt").unlink()
    (runs / "2026-01-01_10-00-00_a" / "last.pt").unlink()
    assert load(*argv, "a", "--train.epochs", "3").train.resume == runs / "2026-01-06_10-00-00_a"  # killed early
    assert load(*argv, "a", "--train.epochs", "4").train.resume == runs / "2026-01-05_10-00-00_a"


def test_environment_variables_are_no_settings(monkeypatch):
    for name in ("NAME", "SEED", "DATA", "TRAIN", "RUNS"):
        monkeypatch.setenv(name, "77")
    assert load() == Settings(_cli_parse_args=False) and load().seed == 0


def test_resume_in_a_file_takes_the_settings_of_the_run_too(tmp_path):
    yaml_file(tmp_path, "train: {epochs: 11}\n")
    other = tmp_path / "other.yaml"
    other.write_text(f"train: {{epochs: 3, resume: {tmp_path}}}\n")
    assert load("--config", str(other)).train.epochs == 11


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--train.epoch", "3"], "no setting train.epoch; did you mean train.epochs"),
        (["--train.epochs=3", "--modle.width=3"], "no setting modle.width; did you mean model.width"),
        (["--train.epochs", "many"], "train.epochs: Input should be a valid integer.*got 'many'"),
        (["--train.epochs", "0"], "train.epochs: .*greater than or equal to 1, got '0'"),
        (["--dataset", "affect"], "dataset: .*'demo', 'afewva' or 'affectnet'"),
        (["--preset", "papre"], "preset 'papre' is not one of demo, paper"),
        (["--data.image_size", "100"], "data.image_size: .*multiple of 64"),
        (["--train.batch", "50"], "train.batch 50 is no multiple of train.subjects 48"),
        (["--train.batch", "2", "--train.subjects", "0"], "train.batch must be 3 or more"),
        (["--model.emonet", "x.pth"], "published weights need model.width 256, not 64"),
        (["--support_set.strategy", "train_bins", "--support_set.rule", "nearest"], "use mean, weighted or fused"),
        (["--support_set.strategy", "csv"], "go together"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["stray"], "stray"),
        (["--train.epochs"], "expected one argument"),
    ],
)
def test_wrong_command_lines_are_refused(argv, message):
    with pytest.raises(SettingsError, match=message):
        load(*argv)


@pytest.mark.parametrize(
    "text, message",
    [
        ("train: {epoch: 3}", "no setting train.epoch; did you mean train.epochs"),
        ("trian: {epochs: 3}", "no setting trian; did you mean train"),
        ("train: {epochs: x}", r"settings.yaml.*train.epochs: .*got 'x'"),
        ("train: 3", "train: "),
        ("seed: true", "seed: "),
        ("train: {lr: .nan}", "train.lr: "),
        ("- a\n- b", "name: value"),
        ("a: [", "not valid YAML"),
        ("!!python/object/apply:os.system [echo]", "not valid YAML"),
        ("[" * 100_000, "not valid YAML"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        load("--config", yaml_file(tmp_path, text))


def test_help_lists_every_setting_with_its_default_and_imports_no_torch():
    code = "import sys, mtclar\ntry: mtclar.main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.strip() == "False"
    for section, values in Settings(_cli_parse_args=False).model_dump().items():
        for name in values if isinstance(values, dict) else [None]:
            assert f"--{section}.{name}" if name else f"--{section}" in done.stdout
    assert "Learning rate of Adam. (default: 0.001)" in " ".join(done.stdout.split())


def test_errors_end_a_script_with_one_message_and_code_2():
    done = subprocess.run([sys.executable, "mtclar.py", "--train.epoch", "3"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and "train.epochs" in done.stderr
    assert yaml.safe_load((ROOT / "config.yaml").read_text())["dataset"] == "demo"
