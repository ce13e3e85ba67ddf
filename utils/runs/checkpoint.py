"""Checkpoints: how they are written, and how they are read without running code from them."""

import contextlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.emonet import IMAGE_SIZE, EmoNet, Encoder, rename_published
from models.mtclar import MTCLAR, PUBLISHED_ENCODER, PUBLISHED_WIDTH, rename_published_siamese
from models.pretrained import read_weights
from models.supervised import Supervised, SupervisedHead
from utils.base.errors import CheckpointError
from utils.base.files import write_atomically
from utils.compute import ranks
from utils.config.sections import ModelSettings
from utils.runs.trainings import HISTORY, TRAININGS, describe_trainings

FORMAT = 2
"""Version of the checkpoint format. Files without the entry `format` are version 1, which has the same entries."""
SCRIPTS = {"mtclar": "mtclar.py", "supervised": "mtclar_sl.py"}
"""Kind of network → the script that trains it."""
REQUIRED_SETTINGS = {"dataset", "seed", "demo", "data", "pairs"}
"""The settings that a checkpoint of mtclar.py must hold besides those of the network: DATA_AND_SPLIT_KEYS of
`utils.runs.trainings`, and how its pairs were drawn."""
PUBLISHED_SETTINGS = {
    "model": {"width": PUBLISHED_WIDTH, "fusion": "concat", "dropout": 0.5},
    "data": {"image_size": IMAGE_SIZE},
}
"""The settings of a Siamese checkpoint with the published tensor names. Such a file does not name its training data."""
EMONET_SOURCE = "https://github.com/face-analysis/emonet (folder pretrained; licence CC BY-NC-ND)"


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint on rank 0; the other ranks write nothing. Identical content gives identical bytes.

    Args:
        path: file to write.
        content: tensors and plain values, nested in dicts and lists. The entry `kind` names the network.

    Raises:
        StorageError: the file cannot be written.
    """
    if not ranks.is_rank_zero():
        return

    def write(temporary: Path) -> None:
        try:
            # Given a path instead of a file, torch.save would write the temporary name into the archive.
            with temporary.open("wb") as file:
                torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:
            # torch.save reports a full disk as a RuntimeError.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    write_atomically(path, write)


def read_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Return the content of a checkpoint, with its tensors on the CPU.

    A Siamese network with the published tensor names is returned as if mtclar.py had trained it, with the settings
    PUBLISHED_SETTINGS.

    Args:
        path: best.pt or last.pt of a run, model.safetensors of an exported folder, or a published Siamese network.
        kind: the network that it must hold, "mtclar" or "supervised".

    Raises:
        CheckpointError: the file cannot be read, has a newer format, or holds another network.
    """
    content = _load(path)
    entries = _from_published_siamese(content) or (content if isinstance(content, dict) else {})
    version = entries.get("format", 1)
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise CheckpointError(
            f"{path}: has a checkpoint format that this version of MT-CLAR does not know; update MT-CLAR, or name a "
            f"checkpoint of format {FORMAT} or older"
        )
    found = entries.get("kind")
    if found != kind:
        other = SCRIPTS.get(found) if isinstance(found, str) else None
        what = f"is a checkpoint of {other}, not of" if other else "is not a checkpoint of"
        raise CheckpointError(
            f"{path}: {what} {SCRIPTS[kind]}; name best.pt or last.pt in a run folder of {SCRIPTS[kind]}"
        )
    return entries


def load_mtclar(path: Path, content: Mapping[str, Any] | None = None) -> tuple[MTCLAR, dict[str, Any]]:
    """Return the network in a checkpoint of mtclar.py, in eval mode, and the settings that it was trained with.

    The settings have the further entry `TRAININGS`, see `utils.runs.trainings`. For published weights the settings are
    PUBLISHED_SETTINGS.

    Args:
        path: as in `read_checkpoint`.
        content: the content of the file, if `read_checkpoint` has read it already.

    Raises:
        CheckpointError: as `read_checkpoint`, or the settings or weights are incomplete.
    """
    content = content or read_checkpoint(path, "mtclar")
    with _incomplete_content_as_error(path):
        settings = content["settings"]
        network = ModelSettings.model_validate(settings["model"])
        missing = REQUIRED_SETTINGS - set(settings)
        if missing and not content.get("published"):
            raise KeyError(min(missing))
        model = MTCLAR(network.width, network.fusion, network.dropout)
        load_model(model, content["model"], path)
        published = bool(content.get("published"))
        settings = settings | {TRAININGS: [] if published else describe_trainings(settings, content.get(HISTORY))}
    return model.eval(), settings


class SupervisedCheckpoint(NamedTuple):
    """The content of best.pt of a mtclar_sl.py run.

    Attributes:
        model: encoder and head, in eval mode.
        settings: the settings that the head was trained with, with the further entry `TRAININGS`.
        encoder_settings: the same of the encoder; None for published EmoNet.
    """

    model: Supervised
    settings: dict[str, Any]
    encoder_settings: dict[str, Any] | None


def read_kind(path: Path) -> str | None:
    """Return the network that a checkpoint holds, "mtclar" or "supervised"; None for any other file of weights.

    Raises:
        CheckpointError: the file cannot be read.
    """
    content = _load(path)
    return content.get("kind") if isinstance(content, dict) and isinstance(content.get("kind"), str) else None


def load_supervised(path: Path, content: Mapping[str, Any] | None = None) -> SupervisedCheckpoint:
    """Return encoder and head of a mtclar_sl.py run.

    Args:
        path: best.pt of the run.
        content: the content of the file, if `read_checkpoint` has read it already.

    Raises:
        CheckpointError: as `read_checkpoint`, or the file is a last.pt, which has no encoder.
    """
    content = content or read_checkpoint(path, "supervised")
    if "about" not in content:
        raise CheckpointError(f"{path}: holds the head without its encoder; name the best.pt in the same folder")
    with _incomplete_content_as_error(path):
        settings, about = content["settings"], content["about"]
        # The width comes from an untrusted file, so it is checked before it decides how much memory is used.
        encoder = Encoder(ModelSettings(width=about["width"]).width)
        head = SupervisedHead.for_task(settings["task"], settings["head"]["tanh"], settings["head"]["dropout"])
        load_model(encoder, about["encoder"], path)
        load_model(head, content["model"], path)
        settings[TRAININGS] = describe_trainings(settings, content.get(HISTORY))
        return SupervisedCheckpoint(Supervised(encoder, head), settings, about["encoder_settings"])


def load_model(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a model, which must have the same tensor names and shapes.

    Args:
        model: network to fill.
        state: its state dict.
        path: file that the weights come from, for the message.

    Raises:
        CheckpointError: names the first tensors that are missing, unknown or of another shape.
    """
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no weights; name best.pt or last.pt in a run folder")
    _check_names_and_shapes(model.state_dict(), state, path)
    model.load_state_dict(state)


def load_emonet(path: Path, classes: int | None = None) -> EmoNet:
    """Return the published EmoNet, in eval mode.

    Args:
        path: emonet_8.pth or emonet_5.pth; the tensor names may begin with `module.`.
        classes: number of expression classes that the file must have; None: 8 or 5, as in the file.

    Raises:
        CheckpointError: the file cannot be read, or holds another network.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path}: no published EmoNet weights found; download emonet_8.pth from {EMONET_SOURCE}, "
            "or correct the path (model.emonet: null trains from scratch)"
        )
    content = _state_dict(_load(path))
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: holds no published EmoNet weights; download emonet_8.pth from {EMONET_SOURCE}")
    state = {rename_published(key): value for key, value in content.items()}
    # The last layer has an output per class, and two for valence and arousal.
    last = state.get("head.3.weight")
    model = EmoNet(classes or (5 if last is not None and last.shape[:1] == (7,) else 8))
    load_model(model, state, path)
    return model.eval()


def start_from_emonet(encoder: Encoder, path: Path) -> None:
    """Copy published EmoNet weights into an encoder of width 256 and freeze its landmark network.

    Raises:
        CheckpointError: as `load_emonet`.
    """
    encoder.load_state_dict(load_emonet(path).encoder.state_dict())
    encoder.freeze_landmarks()


def start_from_mtclar(model: MTCLAR, path: Path, image_size: int) -> list[dict[str, Any]]:
    """Copy the weights of a trained network into a new one, for fine-tuning.

    If the landmark network was frozen in an earlier training, it is frozen again.

    Args:
        model: the new network.
        path: best.pt or last.pt of a mtclar.py run.
        image_size: side in pixels of the images of the new training.

    Returns:
        The data of the trainings that the weights come from, see `TRAININGS`.

    Raises:
        CheckpointError: as `load_mtclar`, or the networks or image sizes differ.
    """
    trained, settings = load_mtclar(path)
    with _incomplete_content_as_error(path):
        found = {
            "model.width": trained.encoder.width,
            "model.fusion": trained.fusion,
            "data.image_size": settings["data"]["image_size"],
        }
        frozen = any(training["emonet"] for training in settings[TRAININGS])
    wanted = {"model.width": model.encoder.width, "model.fusion": model.fusion, "data.image_size": image_size}
    if found != wanted:
        options = " ".join(f"--{name} {value}" for name, value in found.items())
        raise CheckpointError(f"{path}: was trained with other settings than this run; add {options}")
    model.load_state_dict(trained.state_dict())
    if frozen:
        model.encoder.freeze_landmarks()
    return settings[TRAININGS]


def _from_published_siamese(content: Any) -> dict[str, Any] | None:
    """Convert a Siamese state dict with the published tensor names to the content of a checkpoint of mtclar.py.

    Returns None for any other content.
    """
    state = _state_dict(content)
    names = [key for key in state if isinstance(key, str)] if isinstance(state, dict) else []
    if not any(name.removeprefix("module.").startswith(PUBLISHED_ENCODER) for name in names):
        return None
    renamed = {rename_published_siamese(name): state[name] for name in names}
    kept = {name: tensor for name, tensor in renamed.items() if not name.startswith("head.")}
    return {"kind": "mtclar", "published": True, "model": kept, "settings": PUBLISHED_SETTINGS}


def _state_dict(content: Any) -> Any:
    """Return the state dict in the content of a published file, which may be wrapped as {"state_dict": ...}."""
    wrapped = isinstance(content, dict) and isinstance(content.get("state_dict"), dict)
    return content["state_dict"] if wrapped else content


@contextlib.contextmanager
def _incomplete_content_as_error(path: Path) -> Iterator[None]:
    """Raise CheckpointError in place of the errors that missing or invalid entries of a checkpoint cause."""
    try:
        yield
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: lacks the settings or weights of a run ({reason}); train the network again"
        ) from None


def _load(path: Path) -> Any:
    """Return the content of an untrusted file of weights, on the CPU. Raises CheckpointError."""
    if path.suffix == ".safetensors":
        tensors, metadata = read_weights(path)
        return metadata | {"model": tensors}
    try:
        _refuse_compressed(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise _no_such_file(path) from None
    except pickle.UnpicklingError:
        # PyTorch's own message is left out: it suggests loading the file with weights_only=False.
        raise CheckpointError(
            f"{path}: refused: it is broken, or loading it could run code; restore it, or train the network again"
        ) from None
    except Exception as error:  # torch.load does not document which errors broken files cause
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: is not a file of weights, or is broken ({reason}); restore it") from None


def _refuse_compressed(path: Path) -> None:
    """Raise CheckpointError for an archive that unpacks to more than its size: torch.save never compresses."""
    if not path.is_file():
        raise _no_such_file(path)
    if not zipfile.is_zipfile(path):  # published weights may have PyTorch's older format
        return
    with zipfile.ZipFile(path) as content:
        entries = content.infolist()
    if any(entry.compress_type for entry in entries) or sum(e.file_size for e in entries) > path.stat().st_size:
        raise CheckpointError(f"{path}: refused: it is compressed, and PyTorch does not compress; restore the file")


def _no_such_file(path: Path) -> CheckpointError:
    return CheckpointError(f"{path}: there is no such file; check the path")


def _check_names_and_shapes(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError unless both state dicts have the same names and shapes."""
    wrong = [f"{name} is missing" for name in expected if name not in state]
    wrong += [f"{name} is not of this network" for name in state if name not in expected]
    wrong += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise CheckpointError(f"{path}: weights of another network: {'; '.join(wrong[:3])}{more}")
