"""Loads the frozen encoder of a fold: of a mtclar.py run, an exported or published Siamese network, or EmoNet."""

from pathlib import Path
from typing import Any, NamedTuple

from models.emonet import IMAGE_SIZE, Encoder
from utils.config.layers import merge_layers
from utils.config.mtclar import MtclarTrainingSettings
from utils.config.supervised import SLTrainingSettings
from utils.runs.checkpoint import load_emonet, load_mtclar
from utils.runs.trained import checkpoint_path, newest_match, refuse_other_splits, trained_layer
from utils.runs.trainings import trainings_of

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


def load_encoder(settings: SLTrainingSettings) -> FrozenEncoder:
    """Load the encoder of a fold: from `emonet` or `checkpoint`, by default from the newest mtclar.py run.

    Raises:
        SettingsError: there is no such run, or the encoder may have been trained on people of the test set.
        CheckpointError: as `load_mtclar` or `load_emonet`.
    """
    if settings.emonet:
        return FrozenEncoder(settings.emonet, _frozen(load_emonet(settings.emonet).encoder), IMAGE_SIZE, None)
    path = newest_match(checkpoint_path(settings))
    model, trained_with = load_mtclar(path)
    if "dataset" not in trained_with:  # Published weights do not name their training data.
        return FrozenEncoder(path, _frozen(model.encoder), IMAGE_SIZE, None)
    trained = merge_layers(MtclarTrainingSettings, [trained_layer(path, trained_with)])
    remedy = FOLD_REMEDY if settings.dataset in ("afewva", "videos") else ""
    refuse_other_splits(settings, trainings_of(trained_with), path, remedy)
    return FrozenEncoder(path, _frozen(model.encoder), trained.data.image_size, trained_with)


def _frozen(encoder: Encoder) -> Encoder:
    return encoder.requires_grad_(False).eval()
