"""Loads the frozen encoders of folds: of a mtclar.py run, an exported or published Siamese network, or EmoNet."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.emonet import IMAGE_SIZE, Encoder
from utils.config.layers import merge_layers
from utils.config.mtclar import MtclarTrainingSettings
from utils.config.supervised import SLTrainingSettings
from utils.runs.checkpoint import load_emonet, load_mtclar, read_checkpoint
from utils.runs.trained import checkpoint_path, log_network, newest_match, refuse_other_splits, trained_layer
from utils.runs.trainings import trainings_of

log = logging.getLogger(__name__)

FOLD_REMEDY = ", or give each fold a network of its own: --checkpoint 'runs/mtclar/*_fold{fold}/best.pt'"
"""Remedy for data sets of several folds, where a network of one fold was trained on the test people of the others."""


class FrozenEncoder(NamedTuple):
    """A trained encoder, in eval mode and without gradients.

    Attributes:
        path: file of its weights.
        network: the encoder.
        image_size: side in pixels of the images that it was trained on.
        settings: settings that it was trained with; None for published weights.
    """

    path: Path
    network: Encoder
    image_size: int
    settings: dict[str, Any] | None

    def checkpoint_content(self) -> dict[str, Any]:
        """Return the entries of a checkpoint from which `load_supervised` builds the encoder again."""
        state = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        return {"width": self.network.width, "encoder": state, "encoder_settings": self.settings}


def load_encoders(folds: Sequence[SLTrainingSettings]) -> list[FrozenEncoder]:
    """Load the encoder of each fold: from `emonet` or `checkpoint`, by default from the newest mtclar.py run.

    A file that several folds name is loaded and logged once.

    Raises:
        SettingsError: there is no such run, or an encoder may have been trained on people of the test set.
        CheckpointError: as `load_mtclar` or `load_emonet`.
    """
    loaded: dict[Path, FrozenEncoder] = {}
    encoders = []
    for settings in folds:
        path = settings.emonet or newest_match(checkpoint_path(settings))
        if path not in loaded:
            loaded[path] = _load_emonet(path) if settings.emonet else _load_mtclar(path)
        encoder = loaded[path]
        if encoder.settings:
            remedy = FOLD_REMEDY if settings.dataset in ("afewva", "videos") else ""
            refuse_other_splits(settings, trainings_of(encoder.settings), path, remedy)
        encoders.append(encoder)
    return encoders


def _load_emonet(path: Path) -> FrozenEncoder:
    log.info("encoder: published EmoNet weights %s", path)
    return FrozenEncoder(path, _frozen(load_emonet(path).encoder), IMAGE_SIZE, None)


def _load_mtclar(path: Path) -> FrozenEncoder:
    content = read_checkpoint(path, "mtclar")
    log_network(path, content)
    model, trained_with = load_mtclar(path, content)
    if "dataset" not in trained_with:  # Published weights do not name their training data.
        return FrozenEncoder(path, _frozen(model.encoder), IMAGE_SIZE, None)
    trained = merge_layers(MtclarTrainingSettings, [trained_layer(path, trained_with)])
    return FrozenEncoder(path, _frozen(model.encoder), trained.data.image_size, trained_with)


def _frozen(encoder: Encoder) -> Encoder:
    return encoder.requires_grad_(False).eval()
