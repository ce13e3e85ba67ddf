"""Checkpoints: written whole or not at all, and loaded without running code from them."""

import contextlib
import hashlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from datasets.frames import EXPRESSIONS
from models.emonet import EmoNet, Encoder, rename_published
from models.mtclar import MTCLAR
from models.supervised import Supervised, SupervisedHead
from utils import ranks
from utils.errors import CheckpointError
from utils.files import write_whole
from utils.settings import ModelSettings

DATA_SETTINGS = {"dataset", "seed", "demo", "data", "pairs"}  # by which labelling knows who was trained on
EMONET_SOURCE = "https://github.com/face-analysis/emonet (folder pretrained; licence CC BY-NC-ND)"


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """content: tensors and plain values, nested in dicts and lists; the same content gives the same bytes.

    Of several ranks, the first one writes.
    """
    if not ranks.is_first():
        return

    def write(temporary: Path) -> None:
        try:
            with temporary.open("wb") as file:  # given a path, torch.save would write the path's name into the file
                torch.save(dict(content), file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # a full disk, say
                raise error.__context__ from None
            raise

    write_whole(path, write)


def read_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """A checkpoint of this project, its tensors on the CPU.

    kind: which network it must hold ("mtclar" or "supervised"). Raises CheckpointError.
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("kind") != kind:
        found = content.get("kind") if isinstance(content, dict) else None
        raise CheckpointError(
            f"{path}: is not a checkpoint of {kind}" + (f" but of {found}" if found else "")
            + "; name a best.pt or last.pt of a run folder"
        )  # fmt: skip
    return content


def digest(path: Path) -> str:
    """Names the weights of a file by their content."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def load_mtclar(path: Path) -> tuple[MTCLAR, dict[str, Any]]:
    """The network of a checkpoint of mtclar.py, and the settings that it was trained under."""
    content = read_checkpoint(path, "mtclar")
    with _complete(path):
        settings = content["settings"]
        chosen = ModelSettings.model_validate(settings["model"])
        missing = DATA_SETTINGS - set(settings)
        if missing:
            raise KeyError(min(missing))
        model = MTCLAR(chosen.width, chosen.fusion, chosen.dropout)
        load_model(model, content["model"], path)
    return model.eval(), settings


class SupervisedCheckpoint(NamedTuple):
    """What best.pt of a mtclar_sl.py run holds."""

    model: Supervised
    settings: dict[str, Any]
    """The settings that the head was trained under."""
    encoder_settings: dict[str, Any] | None
    """The settings that the encoder was trained under; None: published EmoNet."""


def holds_supervised(path: Path) -> bool:
    """Whether the file is a checkpoint of mtclar_sl.py."""
    content = _read(path) if path.exists() else None
    return isinstance(content, dict) and content.get("kind") == "supervised"


def load_supervised(path: Path) -> SupervisedCheckpoint:
    """Encoder and head of a mtclar_sl.py run."""
    content = read_checkpoint(path, "supervised")
    if "about" not in content:
        raise CheckpointError(f"{path}: holds the head without its encoder; name the best.pt beside it")
    with _complete(path):
        settings, about = content["settings"], content["about"]
        encoder, head = Encoder(ModelSettings(width=about["width"]).width), make_head(settings)
        load_model(encoder, about["encoder"], path)
        load_model(head, content["model"], path)
        return SupervisedCheckpoint(Supervised(encoder, head), settings, about["encoder_settings"])


def make_head(settings: Mapping[str, Any]) -> SupervisedHead:
    """The head that settings of mtclar_sl.py, as a dict, describe."""
    head = settings["head"]
    if settings["task"] == "expression":
        return SupervisedHead(len(EXPRESSIONS), dropout=head["dropout"])
    return SupervisedHead(2, head["tanh"], head["dropout"])


def load_model(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Strict: every tensor of the model, in its shape, and no other. Raises CheckpointError naming the first few."""
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no weights where they should be; name a file that does")
    _check_names_and_shapes(model.state_dict(), state, path)
    model.load_state_dict(state)


def load_emonet(path: Path, classes: int | None = None) -> EmoNet:
    """The published network (emonet_8.pth, emonet_5.pth), with or without the prefix `module.`, in eval mode.

    classes: what the file must have; None: 8 or 5, as it has. Raises CheckpointError.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path}: no published EmoNet weights there; fetch emonet_8.pth from {EMONET_SOURCE}, "
            "or set model.emonet to its path (null: train from scratch)"
        )
    content = _read(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: holds no published EmoNet weights; fetch emonet_8.pth from {EMONET_SOURCE}")
    state = {rename_published(key): value for key, value in content.items()}
    head = state.get("head.3.weight")
    model = EmoNet(classes or (5 if head is not None and head.shape[:1] == (7,) else 8))
    load_model(model, state, path)
    return model.eval()


def start_from_emonet(encoder: Encoder, path: Path) -> None:
    """Published weights for the encoder (width 256); its landmark network is frozen. EmoNet's head is dropped."""
    encoder.load_state_dict(load_emonet(path).encoder.state_dict())
    encoder.freeze_landmarks()


@contextlib.contextmanager
def _complete(path: Path) -> Iterator[None]:
    """What a checkpoint lacks, or holds in place of it, becomes a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: lacks the settings or weights of a run ({reason}); train it anew") from None


def _read(path: Path) -> Any:
    try:
        _refuse_bombs(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: refused: it is broken, or loading it could run code ({reason})") from None
    except CheckpointError:
        raise
    except Exception as error:  # torch.load declares no errors
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: is not a file of weights, or is broken ({reason})") from None


def _refuse_bombs(path: Path) -> None:
    """torch.save does not compress, so what claims to unpack to more than its file is not from there."""
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    if not zipfile.is_zipfile(path):  # published weights may be in PyTorch's older format
        return
    with zipfile.ZipFile(path) as content:
        entries = content.infolist()
    if any(entry.compress_type for entry in entries) or sum(e.file_size for e in entries) > path.stat().st_size:
        raise CheckpointError(f"{path}: refused: it is compressed, which no checkpoint of PyTorch is")


def _check_names_and_shapes(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    wrong = [f"{name} is missing" for name in wanted if name not in state]
    wrong += [f"{name} is not of this network" for name in state if name not in wanted]
    wrong += [
        f"{name} has shape {tuple(state[name].shape)}, this network's has {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise CheckpointError(f"{path}: weights of another network: {'; '.join(wrong[:3])}{more}")
