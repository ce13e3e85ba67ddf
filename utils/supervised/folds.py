"""A fold of MT-CLAR + SL, from the encoder and the data to the predictions for the test set."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from datasets.splits import Splits
from models.supervised import Supervised, SupervisedHead
from utils.base.errors import CheckpointError
from utils.compute.data import CropReader, read_fold_splits
from utils.compute.embedding_cache import EmbeddingCache
from utils.compute.runtime import Runtime
from utils.compute.seeds import seed_torch
from utils.config.supervised import HEAD, SLTrainingSettings
from utils.runs.checkpoint import read_checkpoint
from utils.runs.run_folder import RunFolder
from utils.runs.trained import refuse_trained_people
from utils.runs.trainings import trainings_of
from utils.supervised.baselines import baseline_predictions
from utils.supervised.encoders import FrozenEncoder, load_encoders
from utils.supervised.features import FeatureReader, labelled_splits
from utils.supervised.tasks import TASKS
from utils.supervised.training import SupervisedTraining
from utils.training.loop import fit


class Fold(NamedTuple):
    """The inputs of a fold, which `prepare_folds` has checked.

    Attributes:
        settings: settings of the run with the fold's number, checkpoint and image size filled in.
        encoder: the frozen encoder.
        splits: frame tables with the rows that have labels for the task.
    """

    settings: SLTrainingSettings
    encoder: FrozenEncoder
    splits: Splits


def prepare_folds(settings: SLTrainingSettings, device: torch.device | None = None) -> list[Fold]:
    """Load the encoders and the frame tables of all folds. The data set and each encoder are read once.

    Args:
        settings: settings of the run.
        device: where to find the faces of your own videos.

    Raises:
        UserError: an encoder or the data cannot be used, or an encoder may have been trained on test people.
    """
    folds = settings.folds()
    encoders = load_encoders(folds)
    return [_prepare(*parts) for parts in zip(folds, encoders, read_fold_splits(folds, device), strict=True)]


def _prepare(settings: SLTrainingSettings, encoder: FrozenEncoder, splits: Splits) -> Fold:
    """Set `data.image_size` in place to that of the encoder if it is None, and select the labelled rows."""
    settings.data.image_size = settings.data.image_size or encoder.image_size
    if encoder.settings:
        refuse_trained_people(settings, splits.test, trainings_of(encoder.settings), encoder.path)
    return Fold(settings, encoder, labelled_splits(splits, TASKS[settings.task]))


def run_fold(fold: Fold, run: RunFolder, runtime: Runtime) -> dict[str, pd.DataFrame]:
    """Train the head of a fold, or resume its training, and predict the test set.

    Args:
        fold: one of those that `prepare_folds` returns.
        run: folder for log and checkpoints; training resumes from its last.pt, if there is one.
        runtime: device and precision.

    Returns:
        Name of the method (the head and two baselines) → table of the test rows (see `Task.table`), with the number
        of the fold as first column.

    Raises:
        CheckpointError: the run was started with another encoder.
    """
    settings, encoder, splits = fold
    _refuse_other_encoder(run.best, encoder)
    seed_torch(settings.seed)
    head = SupervisedHead.for_task(settings.task, settings.head.tanh, settings.head.dropout)
    model = Supervised(encoder.network, head)
    runtime.to_device(model)

    # The encoder is frozen, so each image is encoded once, and the head is trained on the embeddings.
    cache = EmbeddingCache.of_network(encoder.path, settings.runs, runtime)
    reader = FeatureReader(model, cache, CropReader(settings), settings.data.workers)
    train, validation, test = (reader(frames) for frames in splits)
    content = encoder.checkpoint_content()
    training = SupervisedTraining(head, reader.with_copies(train, settings), validation, settings, content)
    fit(training, run, settings)

    predictions = {HEAD: training.predict(test)}
    predictions |= baseline_predictions(training.task, train, validation, test, settings.balanced)
    tables = {method: training.task.table(test.frames, values) for method, values in predictions.items()}
    for table in tables.values():
        table.insert(0, "fold", int(settings.data.fold))
    return tables


def _refuse_other_encoder(best: Path, encoder: FrozenEncoder) -> None:
    """Raise CheckpointError if a resumed run was started with other encoder weights than those now in the file."""
    if not best.exists():
        return
    before = read_checkpoint(best, SupervisedTraining.kind)["about"]["encoder"]
    now = encoder.checkpoint_content()["encoder"]
    if not all(torch.equal(before[name], tensor) for name, tensor in now.items()):
        raise CheckpointError(
            f"{best}: was trained on features of other weights than {encoder.path} now holds; "
            "restore those weights, or start a new run"
        )
