"""One fold of MT-CLAR + SL: encoder and data, features, the head's training, and what it says of the test set."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from datasets.frames import Splits
from models.supervised import Supervised
from utils.checkpoint import make_head, read_checkpoint
from utils.data import CropReader, read_splits
from utils.embed import EmbeddingCache
from utils.engine import fit
from utils.errors import CheckpointError
from utils.run_folder import RunFolder
from utils.runtime import Runtime, seed_step
from utils.supervised.baselines import baseline_answers
from utils.supervised.encoders import FrozenEncoder, load_encoder
from utils.supervised.features import FeatureReader, labelled_splits
from utils.supervised.report import HEAD
from utils.supervised.settings import SupervisedSettings
from utils.supervised.targets import TARGETS
from utils.supervised.training import SupervisedTraining


class Fold(NamedTuple):
    """All that a fold needs, read and checked."""

    settings: SupervisedSettings
    """Those of the run, with this fold, its checkpoint and its encoder's image size."""
    encoder: FrozenEncoder
    splits: Splits
    """The rows that have the task's labels."""


def prepare_fold(settings: SupervisedSettings) -> Fold:
    """Raises UserError where the encoder, the data or the two together will not do."""
    encoder = load_encoder(settings)
    settings.data.image_size = settings.data.image_size or encoder.image_size
    return Fold(settings, encoder, labelled_splits(read_splits(settings), TARGETS[settings.task]))


def run_fold(fold: Fold, run: RunFolder, runtime: Runtime) -> dict[str, pd.DataFrame]:
    """Trains a head, or goes on where `run` stands → method → table of the test rows, as `Target.table` gives it."""
    settings, encoder, splits = fold
    _refuse_other_encoder(run.path / "best.pt", encoder)
    seed_step(settings.seed)
    model = runtime.place(Supervised(encoder.network, make_head(settings.model_dump())))

    # Each image once: the encoder is frozen, so its embeddings are all that the head ever sees.
    cache = EmbeddingCache(encoder.path.parent / "embeddings", encoder.path, runtime)
    read = FeatureReader(model, cache, CropReader(settings), runtime, settings.data.workers)
    train, validation, test = read(splits.train), read(splits.validation), read(splits.test)

    task = SupervisedTraining(model.head, read.with_copies(train, settings), validation, settings, encoder.about())
    fit(task, run, settings)

    answers = {HEAD: task.answer(test)}
    answers |= baseline_answers(settings.task, train, validation, test, settings.balanced)
    target, number = TARGETS[settings.task], int(settings.data.fold)
    return {method: _with_fold(target.table(test.frames, answer), number) for method, answer in answers.items()}


def _refuse_other_encoder(best: Path, encoder: FrozenEncoder) -> None:
    """A run goes on with the encoder it began with, whatever now lies at its path."""
    if not best.exists():
        return
    before, now = read_checkpoint(best, SupervisedTraining.kind)["about"]["encoder"], encoder.about()["encoder"]
    if not all(torch.equal(before[name], tensor) for name, tensor in now.items()):
        raise CheckpointError(f"{best}: was trained on features of other weights than {encoder.path} now holds; "
                              "put those back, or start a new run")  # fmt: skip


def _with_fold(table: pd.DataFrame, number: int) -> pd.DataFrame:
    table.insert(0, "fold", number)
    return table
