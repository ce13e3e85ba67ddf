"""manifest.json: what a run that labels or predicts records, and runs that repeat another one."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import finished, label, labels_file, run_script

from datasets.annotations.estimates import Estimates
from models.mtclar import MTCLAR
from utils.base.files import sha256_of_file
from utils.config.manifest import Input, read_manifest
from utils.labelling.calibration.calibration import DEFAULT_CALIBRATION
from utils.labelling.calibration.file import calibration_input
from utils.labelling.sources import EvidenceSources, SiameseSource, TableSource
from utils.runs.manifest import _by_key, path_input


def same_files(one: Path, other: Path) -> bool:
    """Whether two run folders hold the same files, except manifests, overlays, and ELAN files, which hold paths."""
    contents = [
        {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if not path.name.endswith((".mp4", ".eaf", "_tsconf.xml", "manifest.json"))
        }
        for folder in (one, other)
    ]
    return contents[0] == contents[1] and len(contents[0]) > 3


def repeat(manifest: Path, *argv, script="fsl_mtclar.py"):
    return run_script(script, "--from_manifest", str(manifest), *map(str, argv))


@pytest.fixture
def own_clip(clip, tmp_path) -> tuple[Path, Path]:
    """A video of the test's own, and its labels."""
    return Path(shutil.copy(clip, tmp_path)), labels_file(tmp_path / "labels.csv")


def test_a_video_is_labelled_again_byte_for_byte(quick, own_clip, tmp_path):
    video, labels = own_clip
    first, _ = label(*quick, "--video", video, "--labels", labels, "--support_set.rule", "weighted", "--overlay")
    manifest = read_manifest(first / "manifest.json")
    assert [(one.role, one.path, one.sha256) for one in manifest.inputs if one.role != "calibration"] == [
        ("network", str(quick[1]), sha256_of_file(Path(quick[1]))),
        ("video", str(video), sha256_of_file(video)),
        ("labels", str(labels), sha256_of_file(labels)),
    ]
    assert manifest.outputs["labels.csv"] == sha256_of_file(first / "labels.csv")
    assert manifest.settings["support_set"]["rule"] == "weighted" and manifest.settings["runtime"]["backend"] == "eager"
    assert {"mtclar", "commit", "python", "torch", "numpy"} <= set(manifest.versions)

    for command in (
        ["fsl_mtclar.py", "--from_manifest", str(first / "manifest.json")],
        shlex.split(manifest.command)[1:],
    ):
        again, printed = finished(*command)
        assert again != first and same_files(first, again)
        assert ("files are equal to those of" in printed) == ("--from_manifest" in command)


def test_a_data_set_is_labelled_again_byte_for_byte(quick):
    strategy = ["--support_set.strategy", "random_k", "--support_set.amount", 2, "--seed", 0]
    first, _ = label(*quick, *strategy)
    done = repeat(first / "manifest.json")
    assert done.returncode == 0, done.stderr
    assert same_files(first, Path(re.search(r"run folder +(.+)", done.stdout)[1]))
    inputs = read_manifest(first / "manifest.json").inputs
    assert [one.role for one in inputs] == ["network", "calibration", "data set"]


def test_calibration_of_several_sources_is_not_named_after_the_file_of_one(tmp_path):
    checkpoint = tmp_path / "best.pt"
    network, table = (
        SiameseSource(MTCLAR(16), checkpoint),
        TableSource("table", Estimates(Path("e.csv"), pd.DataFrame())),
    )
    paths = [
        calibration_input(sources.only_checkpoint, DEFAULT_CALIBRATION).path
        for sources in (EvidenceSources(network), EvidenceSources(network, (table,)), EvidenceSources(None, (table,)))
    ]
    assert paths == [str(tmp_path / "calibration.json"), "calibration", "calibration"]


@pytest.mark.parametrize("changed", ["video", "labels", "network", "calibration"])
def test_one_changed_byte_is_noticed(quick, own_clip, tmp_path, changed):
    video, labels = own_clip
    network = Path(shutil.copy(quick[1], tmp_path))
    first, _ = label("--checkpoint", network, *quick[2:], "--video", video, "--labels", labels)
    path = {"video": video, "labels": labels, "network": network, "calibration": first / "manifest.json"}[changed]
    if changed == "calibration":
        content = json.loads(path.read_text())
        next(one for one in content["inputs"] if one["role"] == changed)["sha256"] = "0" * 64
        path.write_text(json.dumps(content))
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    done = repeat(first / "manifest.json")
    name = "calibration.json" if changed == "calibration" else path.name
    if changed != "network":  # a changed network may not even load
        assert f"{name} has changed" in done.stderr
    assert done.returncode == 2 and name in done.stderr and len(list(first.parent.iterdir())) >= 1


def test_a_moved_video_is_accepted_and_a_missing_one_named(quick, own_clip, tmp_path):
    video, labels = own_clip
    first, _ = label(*quick, "--video", video, "--labels", labels)
    (tmp_path / "moved").mkdir()
    moved = video.rename(tmp_path / "moved" / video.name)
    done = repeat(first / "manifest.json")
    assert done.returncode == 2 and f"{video} is missing: restore" in done.stderr
    done = repeat(first / "manifest.json", "--video", moved)
    assert done.returncode == 0, done.stderr
    other = moved.rename(moved.with_name("other.mp4"))
    done = repeat(first / "manifest.json", "--video", other)
    assert done.returncode == 2 and f"{other} is a new input" in done.stderr


def test_files_that_differ_from_those_of_the_repeated_run_are_named(quick, own_clip, tmp_path):
    first, _ = label(*quick, "--video", own_clip[0], "--labels", own_clip[1])
    done = repeat(first / "manifest.json", "--support_set.rule", "nearest")
    assert done.returncode == 2 and re.search(r"labels\.csv.* differ from the files of .*manifest\.json", done.stderr)
    content = json.loads((first / "manifest.json").read_text())
    content["versions"]["numpy"] = "1.0"
    (tmp_path / "old.json").write_text(json.dumps(content))
    done = repeat(tmp_path / "old.json")
    assert done.returncode == 0 and "numpy 1.0 →" in done.stderr


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda content: content.pop("inputs"), r"is not a manifest \(inputs: Field required\); name the manifest"),
        (lambda content: content.update(format=2), "has format 2, but .* reads format 1 only"),
        (lambda content: content.update(script="mtclar_sl.py"), "was written by mtclar_sl.py; run that script"),
        (lambda content: content["settings"].update(annotate="a.mp4"), "was written by the annotation page"),
        (lambda content: content["settings"].update(colour=1), "old.json: there is no setting colour"),
    ],
)
def test_invalid_manifests_are_refused(quick, tmp_path, change, message):
    content = {"format": 1, "script": "fsl_mtclar.py", "command": "", "versions": {}, "inputs": [], "outputs": {}}
    content["settings"] = {"checkpoint": str(quick[1])}
    change(content)
    (tmp_path / "old.json").write_text(json.dumps(content))
    done = repeat(tmp_path / "old.json")
    assert done.returncode == 2 and re.search(message, done.stderr), done.stderr


@pytest.mark.parametrize(
    "text, message", [("[" * 10**5, "is not valid JSON"), ("\xff", "is not"), ("[]", "is not a man")]
)
def test_files_that_are_no_manifest_are_refused(tmp_path, text, message):
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    for path in (tmp_path / "manifest.json", tmp_path / "missing.json"):
        done = repeat(path)
        assert done.returncode == 2 and str(path) in done.stderr and "name the manifest.json" in done.stderr
    assert message in repeat(tmp_path / "manifest.json").stderr


def test_a_folder_of_frames_is_hashed_by_names_and_contents(tmp_path):
    def digest(files: dict[str, bytes]) -> str:
        shutil.rmtree(tmp_path / "frames", ignore_errors=True)
        (tmp_path / "frames").mkdir()
        for name, content in files.items():
            (tmp_path / "frames" / name).write_bytes(content)
        return path_input("video", tmp_path / "frames").sha256

    contents = [{"1": b"a", "2": b"b"}, {"1": b"a", "2": b"c"}, {"1": b"a", "3": b"b"}, {"1": b"a"}]
    assert len({digest(files) for files in contents}) == 4 and digest(contents[0]) == digest(contents[0])
    assert path_input("video", tmp_path / "missing").sha256 is None


def test_labels_say_where_they_are_from(quick, own_clip):
    video, labels = own_clip
    rows = "3,0.5,-0.2,Ada\n3,0.4,-0.2,Bob\n20,-0.4,0.1,Ada\n40,0.1,0.6,\n"
    labels_file(labels, "frame,valence,arousal,annotator\n" + rows)
    folder, _ = label(*quick, "--video", video, "--labels", labels)
    table = pd.read_csv(folder / "labels.csv", keep_default_na=False)
    given = table[table["source"] == "person"]
    assert given[["frame", "annotator"]].to_numpy().tolist() == [[3, "Ada; Bob"], [20, "Ada"], [40, ""]]
    assert given["valence"].astype(float).tolist() == [0.45, -0.4, 0.1]
    assert set(table["source"]) == {"person", "fused", ""}
    assert (table["source"] == "").equals(table["valence"] == "") and not table[table["source"] == "fused"][
        "annotator"
    ].any()
    assert (table.loc[table["support"] == "True", "source"] == "person").all()

    # An estimate at a labelled frame that is not the label as given is not a person's.
    folder, _ = label(*quick, "--video", video, "--labels", labels, "--support_set.annotator_error", 0.1)
    table = pd.read_csv(folder / "labels.csv", keep_default_na=False)
    assert set(table["source"]) == {"fused", ""} and table["annotator"].eq("Ada; Bob").sum() == 1


def test_labels_of_a_data_set_say_where_they_are_from(quick, tmp_path):
    folder, _ = label(*quick, "--support_set.amount", 3, "--support_set.rule", "previous")
    table = pd.read_csv(folder / "labels.csv", dtype={"clip": str}, keep_default_na=False)
    assert (table["source"] == table["support"].map({True: "person", False: "previous"})).all()
    assert (table["annotator"] == table["support"].map({True: "demo", False: ""})).all()
    table.assign(valence=0.123, arousal=0.1)[["clip", "frame", "valence", "arousal"]].head(1).to_csv(
        tmp_path / "own.csv"
    )
    argv = ["--support_set.strategy", "csv", "--support_set.csv", tmp_path / "own.csv"]
    table = pd.read_csv(label(*quick, *argv)[0] / "labels.csv", keep_default_na=False)
    assert table.loc[table["source"] == "person", ["valence", "annotator"]].to_numpy().tolist() == [[0.123, ""]]


def test_inputs_of_the_same_name_are_told_apart(tmp_path):
    inputs = [Input(role="evidence", path=f"fold_{fold}/best.pt", sha256=str(fold)) for fold in range(2)]
    changed = [inputs[0].model_copy(update={"sha256": "other"}), inputs[1]]
    before, now = (_by_key(some) for some in (inputs, changed))
    assert len(before) == 2 and [before[key] == now[key] for key in before] == [False, True]
