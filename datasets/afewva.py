"""Reader of AFEW-VA: 600 film clips with valence and arousal of every frame (Kossaifi et al., 2017).

A clip is ``<root>/<clip>/<clip>.json``, or ``<root>/<part>/<clip>/<clip>.json`` in the parts that are distributed,
with the frames ``00000.png`` … beside it (some copies have .jpg). The JSON::

    {"video_id": "001", "actor": "Name",
     "frames": {"00000": {"valence": -3, "arousal": 5, "landmarks": [[x, y], … 68 of them]}, …}}

Valence and arousal are whole numbers from -10 to 10, which some copies write as 3.0; the reader divides them by 10.
Actors are names or numbers. The images are whole film frames; the landmarks tell where the face is.
"""

import json
import math
import reprlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from datasets.columns import AXES, BOX, EXPRESSIONS
from datasets.csv_files import read_small_csv, require_columns
from datasets.faces import landmark_box
from datasets.frames import PIXEL_ASPECT, FrameBuilder
from utils.base.errors import DataError
from utils.base.text import quoted

LAYOUT = "<root>/<clip>/<clip>.json or <root>/<part>/<clip>/<clip>.json, the frames (.png, .jpg) beside it"
LEVELS = 3  # of folders below the root: an archive's own folder, a part, the clip
LANDMARKS = 68
LABEL_LIMIT = 10
MAX_JSON_BYTES = 64 << 20

_SUFFIXES = (".png", ".jpg", ".jpeg")


def read_afewva(
    root: str | Path,
    expressions_csv: str | Path | None = None,
    pixel_aspect: float = 1.0,
    strict: bool = False,
) -> pd.DataFrame:
    """Read AFEW-VA, or any data set in its layout, as a frame table; ``subject`` is the actor.

    Args:
        root: folder that holds the clips, or the parts with their clips, or both.
        expressions_csv: CSV with the columns clip, frame, expression (0-7, see ``EXPRESSIONS``), which fills the
            column ``expression``. None: ``<root>/expressions.csv`` is read if it exists.
        pixel_aspect: width / height of one pixel as shown, for films stored with non-square pixels: 64/45
            for 720 × 576 shown as 16:9. If it is not 1, the table has the column ``pixel_aspect``, with which
            ``crop_face`` restores the face's proportions; the landmark box stays in pixels of the file.
        strict: raise an error for each row that would be left out: a frame without image, landmarks without extent,
            an expression of an unknown clip or frame, a clip folder without its JSON.

    Returns:
        Frame table, see ``datasets.frames``.

    Raises:
        DataError: no clip is found, a file cannot be read, or a label, landmark or frame id is invalid. Labels are
            never guessed or clipped.
    """
    if not 0 < pixel_aspect < math.inf:
        raise DataError(f"pixel_aspect = {pixel_aspect}: must be positive and finite; use 1 for square pixels")
    root = Path(root).expanduser().absolute()
    builder = FrameBuilder(root, strict)
    rows = [row for clip in _clip_folders(root, builder) for row in _read_clip(clip, builder)]
    codes = _read_expressions(root, expressions_csv)
    for row in rows:
        row["expression"] = codes.pop((row["clip"], row["frame"]), (-1, ""))[0]
        if pixel_aspect != 1.0:
            row[PIXEL_ASPECT] = pixel_aspect
    for _, where in codes.values():
        builder.leave_out("expression of an unknown clip or frame", where)
    if rows:
        builder.add(rows)
    return builder.build()


def _clip_folders(root: Path, builder: FrameBuilder) -> list[Path]:
    """List the clip folders below the root, at most LEVELS deep, sorted by name."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected AFEW-VA there as {LAYOUT}")
    folders: dict[str, Path] = {}
    for folder in _find_clips(root, LEVELS):
        if not (folder / f"{folder.name}.json").is_file():
            builder.leave_out("clip folder without its <clip>.json", str(folder.relative_to(root)))
        elif folder.name in folders:
            raise DataError(f"clip {folder.name!r} exists twice, as {folders[folder.name]} and {folder}; remove one")
        else:
            folders[folder.name] = folder
    if not folders:
        raise DataError(f"{root}: no clip found; expected AFEW-VA there as {LAYOUT}")
    return [folders[name] for name in sorted(folders)]


def _find_clips(folder: Path, levels: int) -> Iterator[Path]:
    """Yield the clips in a folder and in its sub-folders, at most `levels` deep. Clips are not searched for clips."""
    for subfolder in _subfolders(folder):
        if _holds_clip(subfolder):
            yield subfolder
        elif levels > 1:
            yield from _find_clips(subfolder, levels - 1)


def _subfolders(folder: Path) -> list[Path]:
    """Sorted sub-folders that are not hidden."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _holds_clip(folder: Path) -> bool:
    """Whether the folder is a clip, that is, holds its JSON or numbered images."""
    return (folder / f"{folder.name}.json").is_file() or any(_is_frame(path) for path in folder.iterdir())


def _is_frame(path: Path) -> bool:
    """Whether the file is named like an image of a frame."""
    return _is_number(path.stem) and path.suffix.lower() in _SUFFIXES


def _is_number(text: str) -> bool:
    """Whether the text is a whole number that fits in 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def _read_clip(folder: Path, builder: FrameBuilder) -> list[dict]:
    """Read the rows of one clip, all columns but ``expression``; unusable frames are counted in the builder."""
    file = folder / f"{folder.name}.json"
    document = _read_json(file)
    frames, actor = document.get("frames"), _read_actor(document.get("actor"), file)
    if not isinstance(frames, dict):
        raise DataError(f"{file}: 'frames' must be an object from frame id to its labels; restore the file")
    images = _frame_images(folder)
    rows = []
    for key, labels in frames.items():
        if not _is_number(key):
            raise DataError(f"{file}: frame id {reprlib.repr(key)} is not a whole number; correct it")
        row = _read_frame(labels, f"{file}, frame {key}")
        where = f"{file.name} frame {key}"
        if int(key) not in images:
            builder.leave_out("frame without image", where)
        elif not (row["right"] > row["left"] and row["bottom"] > row["top"]):
            builder.leave_out("landmarks without extent", where)
        else:
            rows.append({"path": images[int(key)], "clip": folder.name, "frame": int(key), "subject": actor} | row)
    return rows


def _read_actor(actor: Any, file: Path) -> str:
    """Return the name of an actor. The number 7, as 7 or 7.0, gives the same name as the text "7"."""
    name = " ".join(actor.split()) if isinstance(actor, str) else str(int(actor)) if _is_whole(actor) else ""
    if not name:
        found = reprlib.repr(actor)
        raise DataError(f"{file}: 'actor' must name a person, not {found}; splits keep each actor together")
    return name


def _is_whole(value: Any) -> bool:
    """Whether a value of the JSON is a whole number, such as 3 or 3.0."""
    return type(value) is int or type(value) is float and value.is_integer()  # not isinstance: True is an int, too


def _read_frame(labels: Any, where: str) -> dict[str, float]:
    """Read valence, arousal and landmark box of one frame from its entry in the JSON."""
    if not isinstance(labels, dict):
        raise DataError(f"{where}: must be an object with valence, arousal and landmarks, not {_quoted(labels)}")
    row = {}
    for axis in AXES:
        value: Any = labels.get(axis)
        if not _is_whole(value) or abs(value) > LABEL_LIMIT:
            raise DataError(
                f"{where}: {axis} is {_quoted(value)}; must be a whole number from "
                f"-{LABEL_LIMIT} to {LABEL_LIMIT}: correct or delete the frame"
            )
        row[axis] = value / LABEL_LIMIT
    box = landmark_box(_landmarks(labels.get("landmarks"), where))
    return row | dict(zip(BOX, box, strict=True))


def _quoted(value: Any) -> str:
    """A value of the JSON for an error message, of bounded length."""
    return reprlib.repr(value) if isinstance(value, (list, dict)) else json.dumps(value)[:60]


def _landmarks(points: Any, where: str) -> np.ndarray:
    """Landmarks as (68, 2) float64; DataError unless they are 68 pairs of finite numbers."""
    count = len(points) if isinstance(points, list) else 0
    if count != LANDMARKS:
        raise DataError(f"{where}: {count} landmarks, expected {LANDMARKS}; restore or delete the frame")
    are_pairs = all(isinstance(point, list) and len(point) == 2 for point in points)
    if are_pairs and {int, float}.issuperset(map(type, chain.from_iterable(points))):
        try:
            landmarks = np.array(points, np.float64)
        except OverflowError:  # integers in JSON may be larger than any float
            landmarks = np.array([np.inf])
        if np.isfinite(landmarks).all():  # Python's parser reads 1e999 as infinity
            return landmarks
    raise DataError(f"{where}: a landmark is not a pair of numbers [x, y]; restore or delete the frame")


def _frame_images(folder: Path) -> dict[int, str]:
    """Map the frame number of each image to its path, whatever the zero-padding of its name."""
    images: dict[int, str] = {}
    for path in filter(_is_frame, sorted(folder.iterdir())):
        other = images.setdefault(int(path.stem), str(path))
        if other != str(path):
            raise DataError(f"{path} and {Path(other).name} are both frame {int(path.stem)}; remove one")
    return images


def _read_json(file: Path) -> dict:
    """Read a JSON object; NaN, infinity and duplicate keys are errors, which Python's parser would accept."""

    def refuse_constant(name: str) -> NoReturn:
        raise DataError(f"{file}: {name} is not a number; correct or delete its frame")

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            keys = [key for key, _ in pairs]
            duplicate = next(key for key in keys if keys.count(key) > 1)
            raise DataError(f"{file}: key {reprlib.repr(duplicate)} is given more than once; delete all but one")
        return entries

    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise DataError(
                f"{file}: larger than {MAX_JSON_BYTES >> 20} MB, too large for the labels of one clip; restore the file"
            )
        text = file.read_text(encoding="utf-8-sig")
        document = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=refuse_duplicates)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}, line {error.lineno}: broken JSON ({error.msg}); restore it") from error
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # such as a number of 5,000 digits, or 100,000 nested lists
        raise DataError(f"{file}: cannot be read ({error}); restore the file") from error
    if not isinstance(document, dict):
        raise DataError(f"{file}: must be an object with 'actor' and 'frames'; restore the file")
    return document


def _read_expressions(root: Path, file: str | Path | None) -> dict[tuple[str, int], tuple[int, str]]:
    """Map (clip, frame) to its expression code and to the file and row that give it."""
    if file is None and not (root / "expressions.csv").is_file():
        return {}
    file = Path(file).expanduser() if file is not None else root / "expressions.csv"
    table = read_small_csv(file, "clip,frame,expression").fillna("")  # a short row has NaN in its missing cells
    columns = ["clip", "frame", "expression"]
    require_columns(table.columns, columns, file)
    valid_codes = [str(code) for code in range(len(EXPRESSIONS))]
    codes: dict[tuple[str, int], tuple[int, str]] = {}
    for number, (clip, frame, code) in enumerate(table[columns].to_numpy().tolist(), start=2):  # the header is row 1
        if not _is_number(frame):
            raise DataError(f"{file} row {number}: frame {quoted(frame)} is not a whole number; correct it")
        if code not in valid_codes:
            raise DataError(
                f"{file} row {number}: expression {quoted(code)} is not a code from 0 to {valid_codes[-1]}; "
                "correct or delete the row"
            )
        if (clip, int(frame)) in codes:
            raise DataError(
                f"{file} row {number}: clip {quoted(clip)}, frame {frame} is listed more than once; delete all but one"
            )
        codes[clip, int(frame)] = int(code), f"{file.name} row {number}"
    return codes
