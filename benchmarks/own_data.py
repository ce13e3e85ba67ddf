"""The user's own labelled videos, simulated: fine-tuning and calibration on them, tested on videos of other people.

    python benchmarks/own_data.py --checkpoint runs/mtclar/<run>/best.pt

Renders MP4s of the demo's harder set, with a label file beside each. All people differ from those of the checkpoint's
training set, and the people who are tested from those who are trained on.

- fine-tuning: `mtclar.py --preset finetune --dataset videos --model.init <checkpoint>` on TRAINING_VIDEOS videos with
  LABELS labels each;
- calibration: `fsl_mtclar.py --calibrate` on the same videos, with the network of the checkpoint.

The table has the errors of fused labels on TEST_VIDEOS videos, on the frames without a given label.
"""

import argparse
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pandas as pd
from clips import write_video

from datasets.afewva import read_afewva
from datasets.columns import AXES
from datasets.demo.dataset import render_demo
from datasets.faces import read_image
from datasets.own_videos import read_own_videos
from utils.compute.data import CropReader
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import DataSettings
from utils.labelling.anchors import FUSED
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.calibration.file import FILE_NAME
from utils.labelling.clips import ClipReader
from utils.labelling.scores import score_methods
from utils.labelling.sources import EvidenceSources, SiameseSource
from utils.labelling.support import uniform_k
from utils.runs.checkpoint import load_mtclar
from utils.runs.find import find_runs
from utils.runs.trainings import trainings_of

TRAINING_VIDEOS, TEST_VIDEOS, FRAMES, LABELS = 30, 15, 60, 6
BUDGETS = (1, 3, 6)  # given labels of each test video


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--seeds", type=int, nargs=2, default=[301, 302], help="demo seeds: to train, to test")
    parser.add_argument("--folder", type=Path, default=Path("data/own_data"), help="for videos, caches and runs")
    arguments = parser.parse_args()
    refuse_known_seeds(arguments.checkpoint, arguments.seeds)
    compare_networks(arguments.checkpoint, arguments.folder, *arguments.seeds)


def compare_networks(checkpoint: Path, folder: Path, training_seed: int, test_seed: int) -> None:
    """Print the errors of the network before and after fine-tuning, and after calibration, on videos of other people.

    Args:
        checkpoint: best.pt of a mtclar.py run.
        folder: for videos, caches and runs.
        training_seed: demo seed of the people in the videos to train and calibrate on.
        test_seed: demo seed of the people in the videos to test on.
    """
    own, test = folder / f"videos_{training_seed}", folder / f"videos_{test_seed}"
    render_videos(own, training_seed, TRAINING_VIDEOS, LABELS)
    render_videos(test, test_seed, TEST_VIDEOS, FRAMES)
    networks = {"before": checkpoint}
    networks["fine-tuned"] = fine_tune(checkpoint, own, folder)
    networks["calibrated"] = calibrate(checkpoint, own, folder)
    tables = [errors(network, test, folder).assign(network=name) for name, network in networks.items()]
    print(pd.concat(tables).set_index(["network", "labels"]).to_string(float_format="{:.3f}".format))


def refuse_known_seeds(checkpoint: Path, seeds: list[int]) -> None:
    """Check that the network was not trained on the people whom this benchmark renders."""
    _, settings = load_mtclar(checkpoint)
    known = {training["demo"]["seed"] for training in trainings_of(settings) if training["dataset"] == "demo"}
    assert len(set(seeds)) == len(seeds) and not known & set(seeds), (
        f"{checkpoint} was trained on people of demo seeds {known}"
    )


def render_videos(folder: Path, seed: int, people: int, labels: int) -> None:
    """Write an MP4 of each person of a demo set of harder scenes, and a CSV with evenly spaced true labels."""
    table = read_afewva(render_demo(folder.with_name(f"demo_{seed}"), seed, people, FRAMES, FRAMES, hard=True))
    if folder.exists():
        return
    building = folder.with_name(f"{folder.name}_building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for name, frames in table.groupby("clip"):
        images = (read_image(path)[..., ::-1].copy() for path in frames["path"])
        write_video(building / f"person{name}.mp4", images)
        chosen = uniform_k(frames[list(AXES)].to_numpy(), labels, np.random.default_rng(0))
        rows = frames.iloc[chosen][["frame", *AXES]]
        rows.to_csv(building / f"person{name}_labels.csv", index=False, float_format="%.1f")
    building.rename(folder)


def fine_tune(checkpoint: Path, videos: Path, folder: Path) -> Path:
    """Fine-tune the network of a checkpoint on a folder of videos; return the new best.pt."""
    run_script("mtclar.py", folder, "--preset", "finetune", "--dataset", "videos", "--data.root", videos,
               "--model.init", checkpoint)  # fmt: skip
    return find_runs(folder / "runs" / "mtclar")[0] / "best.pt"


def calibrate(checkpoint: Path, videos: Path, folder: Path) -> Path:
    """Calibrate a copy of a network on a folder of videos; return the copy."""
    copy = folder / "calibrated" / "best.pt"
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(checkpoint, copy)
    shutil.copy(checkpoint.with_name(FILE_NAME), copy.with_name(FILE_NAME))
    run_script("fsl_mtclar.py", folder, "--checkpoint", copy, "--calibrate", videos)
    return copy


def run_script(script: str, folder: Path, *argv: object) -> None:
    """Run a script, whose output is shown, and print how long it took."""
    started = time.perf_counter()
    command = [script, *argv, "--runs", folder / "runs", "--data.cache", folder / "cache"]
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)
    print(f"{script}: {time.perf_counter() - started:.0f} s\n")


def errors(checkpoint: Path, videos: Path, folder: Path) -> pd.DataFrame:
    """RMSE of fused labels over both axes, and the scores of each axis: one row per number of given labels."""
    model, settings = load_mtclar(checkpoint)
    data = DataSettings(cache=folder / "cache", image_size=settings["data"]["image_size"])
    label_settings = LabelSettings(dataset="videos", data=data)
    runtime = make_runtime(label_settings.runtime)
    labeller = labeller_for_videos(EvidenceSources(SiameseSource(runtime.to_device(model), checkpoint)), runtime)
    cache = EmbeddingCache(folder / "embeddings", checkpoint, runtime)
    frames = read_own_videos(videos, folder / "cache")
    clips = ClipReader(labeller.encoder, CropReader(label_settings), cache, data.workers).read(frames)
    rows = []
    for budget in BUDGETS:
        parts = []
        for clip in clips:
            indices = uniform_k(clip.labels, budget, np.random.default_rng(0))
            anchors = clip.anchors(indices, clip.labels[indices])
            labels = labeller.label(clip.encoded, anchors, FUSED)
            table = clip.frames[["clip", "frame"]].assign(**labels.columns(anchors))
            parts.append(table.assign(**{f"{axis}_true": clip.frames[axis] for axis in AXES}))
        rows.append({"labels": budget} | _scores(pd.concat(parts, ignore_index=True)))
    return pd.DataFrame(rows)


def _scores(table: pd.DataFrame) -> dict[str, float]:
    scores = score_methods({FUSED: table}, score_support=False).set_index("average").loc["pooled"]
    names = ("RMSE", "CCC", "coverage", "width")
    both = np.sqrt(np.mean([scores[f"{axis}_RMSE"] ** 2 for axis in AXES]))
    return {"RMSE": both} | {f"{axis} {name}": scores[f"{axis}_{name}"] for axis in AXES for name in names}


if __name__ == "__main__":
    main()
