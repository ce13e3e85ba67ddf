"""Measures EmoNet as evidence, by a file in the published layout that is trained here on rendered faces.

    python benchmarks/emonet_evidence.py --demo.people 2400 --data.root data/demo_quality --train.epochs 6

Trains EmoNet from random weights, with the settings of mtclar.py, to estimate valence and arousal; its expression
outputs are not trained. Writes the weights with the tensor names of the published emonet_8.pth (`--out`), and reads
that file as `fsl_mtclar.py --evidence` does. If the file is there, it is measured without training. An interrupted
training is resumed by `--train.resume latest` and the other options as before.

Prints the errors of the estimates as they are, then RMSE of fused labels on the frames without a label, as such and
relative to linear interpolation, and coverage of the 90 % intervals, on people that nothing was fitted to. The network
is used at the image size that it was trained at (`--data.image_size`, 64), not at 256, the size of published weights.
The people are drawn, so the figures say nothing about real faces.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from published import KEYS
from pydantic import Field
from torch import Tensor

from benchmarks.evidence import HARD_SEEDS, SEEDS, Evidence, Variant, calibrate, score, table
from benchmarks.label_quality import TestSet, render
from datasets.columns import AXES
from datasets.images import TrainingImages
from datasets.pairs import draw_batches
from datasets.splits import Splits
from models.emonet import EmoNet, rename_published
from models.estimator import AffectEstimator
from utils.base.files import write_atomically
from utils.compute.backends import Eager
from utils.compute.data import CropReader, read_splits
from utils.compute.encoding import encode_crops
from utils.compute.loading import PlannedLoader
from utils.compute.runtime import Runtime, make_runtime
from utils.compute.seeds import seed_torch
from utils.config.labelling import LabelSettings
from utils.config.mtclar import MtclarTrainingSettings
from utils.labelling.clips import ClipReader, DatasetClip
from utils.labelling.dataset_calibration.calibrate_clips import clips_to_calibrate_on
from utils.labelling.sources import EvidenceSources, NetworkSource, load_estimators
from utils.metrics import regression_scores
from utils.runs.resume import load_settings
from utils.runs.run_folder import RunFolder
from utils.runs.script import run_script
from utils.runs.trainings import training_history
from utils.supervised.tasks import ValenceArousal
from utils.training.loop import fit
from utils.training.losses import VALIDATION_MSE_WEIGHT, mse_weight_at

RUNS = "emonet_evidence"  # folder of the runs
TRAINING_SEED_STREAM = 31  # of the training batches, see `utils.compute.seeds`
VALIDATION_IMAGES = 300
TEST_SETS = (TestSet("normal", SEEDS), TestSet("harder", HARD_SEEDS, hard=True))


class EmoNetSettings(MtclarTrainingSettings):
    """The settings of mtclar.py, some of which are not used here, such as those of pairs and of the model's width."""

    out: Path = Field(Path("data/emonet_rendered/emonet_8.pth"), exclude=True)
    """File of the trained weights; if it is there, nothing is trained."""


class EmoNetTraining:
    """Training of valence and arousal, see `utils.training.loop.Training`.

    Args:
        model: the network, on the runtime's device.
        splits: training, validation and test set; the test set is not used.
        settings: the settings of the benchmark.
        runtime: device and precision.
    """

    kind = "emonet"
    about: dict[str, Any] = {}
    task = ValenceArousal()

    def __init__(self, model: EmoNet, splits: Splits, settings: EmoNetSettings, runtime: Runtime):
        self.model, self.settings, self.runtime = model, settings, runtime
        self.history = training_history(settings, [splits.train, splits.validation])
        crop_reader = CropReader(settings)
        self.frames, self.labels = splits.train, torch.from_numpy(self.task.labels(splits.train))
        images = TrainingImages(crop_reader(splits.train), settings.train.augment, settings.seed)
        self.loader = PlannedLoader(images, settings.data.workers)
        self.validation = splits.validation[:: max(1, len(splits.validation) // VALIDATION_IMAGES)]
        self.validation_crops = crop_reader(self.validation)

    def steps(self) -> int:
        """The number of batches in an epoch."""
        return max(1, round((self.settings.train.epoch_size or len(self.frames)) / self.settings.train.batch))

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, S, S) uint8 and labels (B, 2) of an epoch, from batch number `start` on."""
        train, rng = self.settings.train, np.random.default_rng([self.settings.seed, TRAINING_SEED_STREAM, epoch])
        drawn = draw_batches(self.frames, self.steps(), train.batch, train.subjects, rng)
        plan = [(epoch, step, rows) for step, rows in enumerate(drawn)][start:]
        for (_, _, rows), images in zip(plan, self.loader.load(plan), strict=True):
            yield images, self.labels[rows]

    def loss(self, batch: tuple[Tensor, Tensor], epoch: int) -> dict[str, Tensor]:
        """The loss of each axis by name, w·MSE + (1 - w)·(1 - CCC), and their mean under the key "loss"."""
        images, labels = batch
        with self.runtime.autocast():
            affect = self.model(self.runtime.images(images))
        outputs = torch.stack((affect.valence, affect.arousal), 1)
        weight = mse_weight_at(epoch, self.settings.train.epochs, self.settings.train.mse_exponent)
        return self.task.loss(outputs, labels.to(self.runtime.device), weight, None)

    def validate(self) -> dict[str, float]:
        """Loss and scores on about VALIDATION_IMAGES validation images."""
        backend = Eager(AffectEstimator(self.model), self.runtime, self.settings.data.image_size)
        estimates = encode_crops(backend, self.validation_crops, workers=0).cpu()
        labels = torch.from_numpy(self.task.labels(self.validation))
        terms = self.task.loss(estimates, labels, VALIDATION_MSE_WEIGHT, None)
        table = self.task.table(self.validation, self.task.predictions(estimates))
        return self.task.score(table) | {name: term.item() for name, term in terms.items()}

    def figures(self) -> dict[str, Figure]:
        """No figures."""
        return {}


def estimates(evidence: Evidence) -> Evidence:
    return evidence


def nothing(evidence: Evidence) -> Evidence:
    return [np.full_like(values, np.nan) for values in evidence]


VARIANTS = (
    Variant("time alone", nothing, (False,), "validation"),
    *(Variant("EmoNet", estimates, (False,), fitted_on) for fitted_on in ("validation", "all clips", "each clip")),
)


def main() -> None:
    settings = load_settings(EmoNetSettings, RUNS, "config.yaml", __doc__)
    runtime, splits = make_runtime(settings.runtime), read_splits(settings)
    if not settings.out.exists():
        train_and_write(splits, settings, runtime)
    reader = make_reader(settings, runtime)
    calibrations = calibrate(VARIANTS, reader.read(clips_to_calibrate_on(splits.validation)))
    rows, raw = [], []
    for kind in TEST_SETS:
        clips = reader.read(render(Path("data/label_quality"), kind))
        raw.append({"set": kind.name} | score_estimates(clips))
        for variant in VARIANTS:
            errors = score(reader.encoder, variant, calibrations[variant], clips)
            rows += [{"set": kind.name} | row for row in table(variant, errors)]
    for printed in (raw, rows):
        print(pd.DataFrame(printed).to_string(index=False, float_format="{:.3f}".format))


def train_and_write(splits: Splits, settings: EmoNetSettings, runtime: Runtime) -> None:
    """Train EmoNet and write its weights to `settings.out`."""
    seed_torch(settings.seed)
    model = runtime.to_device(EmoNet())
    fit(EmoNetTraining(model, splits, settings, runtime), RunFolder.open(settings, RUNS), settings)
    write_published(model, settings.out)


def write_published(model: EmoNet, path: Path) -> None:
    """Write weights with the tensor names of the published emonet_8.pth."""
    state = model.state_dict()
    published = {key: state[rename_published(key)].cpu().contiguous() for key in KEYS["emonet_8"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: torch.save(published, temporary))


def make_reader(settings: EmoNetSettings, runtime: Runtime) -> ClipReader:
    """A reader of clips whose evidence is that of the trained file."""
    label_settings = LabelSettings(evidence=[str(settings.out)], data=settings.data, runs=settings.runs)
    (source,) = load_estimators(label_settings, runtime)
    assert isinstance(source, NetworkSource)
    sources = EvidenceSources(estimators=(replace(source, image_size=settings.data.image_size),))
    return ClipReader.of_sources(sources, runtime, label_settings)


def score_estimates(clips: list[DatasetClip]) -> dict[str, float]:
    """RMSE and CCC of the estimates as they are, over the frames of all clips."""
    estimated = np.concatenate([clip.encoded.evidence[:, 0] for clip in clips])
    labels = np.concatenate([clip.labels for clip in clips])
    row: dict[str, float] = {}
    for column, axis in enumerate(AXES):
        scores = regression_scores(estimated[:, column], labels[:, column])
        row |= {f"{axis} {name}": scores[name] for name in ("RMSE", "CCC")}
    return row


if __name__ == "__main__":
    run_script(main)
