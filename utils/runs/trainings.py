"""The trainings that the weights in a checkpoint come from: several, if a network was fine-tuned.

A training is described by a dict: the settings of DATA_AND_SPLIT_KEYS, `emonet` (the published weights that it started
from, or None), `init` (the network that it started from, or None; older files lack it) and `people`: for the data set
videos, who was in the training and the validation set, and for other data sets an empty list. An exported network holds
`hash_of_person` of each name and, in place of an absolute path of the data, its `hash_of_folder` as `root_hash`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config.common import TrainingScriptSettings

if TYPE_CHECKING:  # pandas takes time to import, which --help must not wait for
    import pandas as pd

DATA_AND_SPLIT_KEYS = ("dataset", "seed", "demo", "data")
"""The settings in a checkpoint that determine the data and its split."""
HISTORY = "history"
"""Entry of a checkpoint: `people`, as above, and `earlier`, the descriptions of earlier trainings."""
HASH = "sha256:"
"""Start of a hash that stands for a name."""
TRAININGS = "trainings"
"""Entry of the settings that a checkpoint was loaded with: the descriptions, the latest training first."""


def training_history(
    settings: TrainingScriptSettings, seen: "Sequence[pd.DataFrame]", earlier: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return the entry HISTORY of a checkpoint.

    Args:
        settings: the settings of the training.
        seen: the frame tables of its training and validation set.
        earlier: the descriptions of the trainings of the network that it starts from.
    """
    # The folder of the user's own videos may grow, and is then split anew, so the people themselves are recorded.
    is_own = settings.dataset == "videos"
    people = sorted({str(name) for frames in seen for name in frames["subject"]}) if is_own else []
    return {"people": people, "earlier": list(map(dict, earlier))}


def describe_trainings(settings: Mapping[str, Any], history: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the descriptions of all trainings of a network, the latest first.

    Args:
        settings: the settings in its checkpoint.
        history: the entry HISTORY; None: it was written before fine-tuning was possible.

    Raises:
        LookupError, TypeError, ValueError: the entry is not valid.
    """
    history = history or {"people": [], "earlier": []}
    latest = {name: settings[name] for name in DATA_AND_SPLIT_KEYS}
    model = settings.get("model", {})
    latest |= {"emonet": model.get("emonet"), "init": model.get("init"), "people": history["people"]}
    latest |= {"root_hash": history.get("root_hash")}
    trainings = [latest, *map(dict, history["earlier"])]
    for training in trainings:
        people = training["people"]
        has_names = isinstance(people, list) and all(isinstance(name, str) for name in people)
        if not {*DATA_AND_SPLIT_KEYS, "emonet"} <= set(training) or not has_names:
            raise ValueError(f"its entry {HISTORY} is not valid")
    return trainings


def hash_of_person(name: str) -> str:
    """Return a hash that stands for the name of a person; a hash is returned as it is."""
    return name if name.startswith(HASH) else _hash(f"videos {name}")


def hash_of_folder(folder: Path) -> str:
    """Return a hash that stands for the path of a folder."""
    return _hash(f"folder {folder.resolve()}")


def _hash(text: str) -> str:
    return HASH + hashlib.sha256(text.encode()).hexdigest()[:16]


def trainings_of(settings: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the descriptions in settings that a checkpoint was loaded with; without them, the settings alone."""
    return settings.get(TRAININGS, [settings])
