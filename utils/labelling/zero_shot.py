"""Zero-shot baselines: the absolute valence and arousal that a network estimates for each frame, without anchors."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from models.emonet import IMAGE_SIZE, EmoNet
from models.supervised import Supervised
from utils.base.errors import CheckpointError
from utils.compute.backends import batch_size
from utils.compute.data import CropReader
from utils.compute.loading import batches_of, evaluation_loader
from utils.compute.runtime import Runtime
from utils.config.labelling import LabelSettings
from utils.config.mtclar import Settings
from utils.config.supervised import SupervisedSettings
from utils.runs.checkpoint import holds_supervised, load_emonet, load_supervised
from utils.runs.trained import refuse_known_splits, refuse_seen_people
from utils.runs.trainings import trainings_of


class Estimator(NamedTuple):
    """A network that estimates absolute valence and arousal.

    Attributes:
        network: EmoNet, or the network of a mtclar_sl.py run.
        name: name of its row in the report.
        image_size: side in pixels of the images that it takes.
    """

    network: EmoNet | Supervised
    name: str
    image_size: int


def load_estimator(path: Path, settings: LabelSettings, test: pd.DataFrame) -> Estimator:
    """Loads published EmoNet weights, or best.pt of a mtclar_sl.py run for valence and arousal.

    Args:
        path: the file of weights.
        settings: the settings of this run.
        test: frame table of the clips to label.

    Raises:
        CheckpointError: the file is neither.
        SettingsError, DataError: the network was trained on people whose clips are to be labelled.
    """
    if not holds_supervised(path):
        return Estimator(load_emonet(path), "EmoNet", IMAGE_SIZE)
    checkpoint = load_supervised(path)
    if checkpoint.settings["task"] != "valence_arousal":
        raise CheckpointError(f"{path}: was trained for expressions; name a head for valence and arousal")
    for kind, trained in ((SupervisedSettings, checkpoint.settings), (Settings, checkpoint.encoder_settings)):
        if trained:
            refuse_known_splits(settings, trainings_of(trained), path, kind=kind)
            refuse_seen_people(settings, test, trainings_of(trained), path, kind)
    return Estimator(checkpoint.model, "MT-CLAR + SL", checkpoint.settings["data"]["image_size"])


@torch.inference_mode()
def zero_shot(estimator: Estimator, frames: pd.DataFrame, settings: LabelSettings, runtime: Runtime) -> np.ndarray:
    """(N, 2) estimated valence and arousal, in [-1, 1], of each row of a frame table."""
    network = runtime.to_device(estimator.network)
    crops = CropReader(settings, estimator.image_size)(frames)
    parts, size = [], batch_size(runtime.device, estimator.image_size)
    for batch in batches_of(evaluation_loader(crops, size, settings.data.workers)):
        with runtime.autocast():
            estimate = network.estimate(runtime.images(batch))
        parts.append(torch.stack((estimate.valence, estimate.arousal), 1).float().cpu())
    return torch.cat(parts).clamp(-1, 1).numpy()
