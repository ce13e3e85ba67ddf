"""The files of an exported network, in the layout of the Hugging Face hub: model.safetensors and config.json.

Reading them runs no code from them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from utils.base.errors import CheckpointError
from utils.base.files import write_atomically

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
MAX_CONFIG_BYTES = 1 << 20
METADATA_KEY = "mtclar"
"""All metadata are JSON under this one key: safetensors keeps no order of several keys, and bytes would differ."""


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and plain values as a safetensors file. Raises StorageError."""
    content = save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, {METADATA_KEY: json.dumps(metadata)}
    )
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, on the CPU, and the metadata of a safetensors file.

    Raises:
        CheckpointError: the file cannot be read, or `write_weights` did not write it.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; check the path")
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: is no safetensors file, or is broken ({str(error)[:80]}); restore it") from None
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: was not exported by MT-CLAR; name a folder that mtclar.py --export wrote")
    return tensors, metadata


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of config.json in an exported folder. Raises CheckpointError."""
    path = folder / CONFIG_FILE
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(MAX_CONFIG_BYTES))
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); name a folder that mtclar.py --export wrote"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not valid JSON ({str(error)[:80]}); restore it") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: must be an object; restore it")
    return config
