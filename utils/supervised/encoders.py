"""Where features come from: the encoder of a mtclar.py run, or that of published EmoNet."""

from pathlib import Path
from typing import Any, NamedTuple

from models.emonet import Encoder
from utils.checkpoint import load_emonet, load_mtclar
from utils.config import merge_layers
from utils.settings import Settings
from utils.supervised.settings import SupervisedSettings
from utils.trained import newest_match, refuse_known_people, trained_layer

EMONET_WIDTH, EMONET_SIZE = 256, 256
FOLD_REMEDY = ", or give each fold a network of its own: --checkpoint 'runs/mtclar/*_fold{fold}/best.pt'"


class FrozenEncoder(NamedTuple):
    """An encoder as it was trained elsewhere."""

    path: Path
    """The file of its weights."""
    network: Encoder
    image_size: int
    """Side in pixels of the squares that it was trained on."""
    settings: dict[str, Any] | None
    """The settings that it was trained under; None: published EmoNet."""

    def about(self) -> dict[str, Any]:
        """What a checkpoint must hold to build it again, on the CPU."""
        width = self.settings["model"]["width"] if self.settings else EMONET_WIDTH
        state = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        return {"width": width, "encoder": state, "encoder_settings": self.settings}


def load_encoder(settings: SupervisedSettings) -> FrozenEncoder:
    """The encoder that the settings of a fold name.

    Raises SettingsError where it was trained on people of the test set, CheckpointError as `load_mtclar`.
    """
    if settings.emonet:
        return FrozenEncoder(settings.emonet, _frozen(load_emonet(settings.emonet).encoder), EMONET_SIZE, None)
    path = newest_match(settings.checkpoint)
    model, trained = load_mtclar(path)
    before = merge_layers(Settings, [trained_layer(path, trained)])
    remedy = FOLD_REMEDY if settings.dataset == "afewva" else ""
    refuse_known_people(settings, before, path, remedy)
    return FrozenEncoder(path, _frozen(model.encoder), before.data.image_size, trained)


def _frozen(network: Encoder) -> Encoder:
    return network.requires_grad_(False).eval()
