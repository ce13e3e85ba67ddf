"""Baselines that need no support: what a network that knows absolute labels says of each frame by itself."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from models.emonet import EmoNet
from models.supervised import Supervised
from utils.backends import batch_size
from utils.checkpoint import holds_supervised, load_emonet, load_supervised
from utils.config import merge_layers
from utils.data import CropReader
from utils.errors import CheckpointError
from utils.loading import evaluation_loader, unwrapped
from utils.runtime import Runtime
from utils.settings import LabelSettings, Settings
from utils.supervised.encoders import EMONET_SIZE
from utils.supervised.settings import SupervisedSettings
from utils.trained import refuse_known_people, trained_layer


class Estimator(NamedTuple):
    """A network with `estimate`, the name of its row in a report, and the side in pixels of the images it takes."""

    network: EmoNet | Supervised
    name: str
    image_size: int


def load_estimator(path: Path, settings: LabelSettings) -> Estimator:
    """Published EmoNet weights, or best.pt of a mtclar_sl.py run for valence and arousal.

    Raises CheckpointError, and SettingsError where it was trained on people whose clips are to be labelled.
    """
    if not holds_supervised(path):
        return Estimator(load_emonet(path), "EmoNet", EMONET_SIZE)
    found = load_supervised(path)
    if found.settings["task"] != "valence_arousal":
        raise CheckpointError(f"{path}: says expressions; name a head for valence and arousal")
    for kind, trained in ((SupervisedSettings, found.settings), (Settings, found.encoder_settings)):
        if trained:
            refuse_known_people(settings, merge_layers(kind, [trained_layer(path, trained)]), path)
    return Estimator(found.model, "MT-CLAR + SL", found.settings["data"]["image_size"])


@torch.inference_mode()
def zero_shot(estimator: Estimator, frames: pd.DataFrame, settings: LabelSettings, runtime: Runtime) -> np.ndarray:
    """(N, 2) valence and arousal in [-1, 1] of each frame."""
    network = runtime.place(estimator.network)
    crops = CropReader(settings, estimator.image_size)(frames)
    parts, size = [], batch_size(runtime.device, estimator.image_size)
    for batch in unwrapped(evaluation_loader(crops, size, settings.data.workers)):
        with runtime.autocast():
            found = network.estimate(runtime.images(batch))
        parts.append(torch.stack((found.valence, found.arousal), 1).float().cpu())
    return torch.cat(parts).clamp(-1, 1).numpy()
