"""AFEW-VA: 600 film clips, valence and arousal of every frame (Kossaifi et al., 2017).

``<root>/<clip>/<clip>.json``, or in the parts it is handed out in, ``<root>/<part>/<clip>/<clip>.json``, with
the frames ``00000.png`` … beside it (some copies are .jpg). The JSON::

    {"video_id": "001", "actor": "Name",
     "frames": {"00000": {"valence": -3, "arousal": 5, "landmarks": [[x, y], … 68 of them]}, …}}

Valence and arousal are integers from -10 to 10, divided by 10 here. The images are whole film frames: the
face is where the landmarks are.
"""

import json
import math
import reprlib
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.faces import landmark_box
from datasets.frames import (
    EXPRESSIONS,
    PIXEL_ASPECT,
    DataError,
    FrameBuilder,
    read_small_csv,
    require_columns,
)

LAYOUT = "<root>/<clip>/<clip>.json or <root>/<part>/<clip>/<clip>.json, the frames (.png, .jpg) beside it"
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
    """Read AFEW-VA, or any set in its layout, as a frame table; ``subject`` is the actor.

    Args:
        root: folder of the clips or of the parts; both may be mixed.
        expressions_csv: columns clip, frame, expression (0-7, see ``EXPRESSIONS``); fills ``expression``.
            Without it, ``<root>/expressions.csv`` is read if it is there.
        pixel_aspect: width / height of one pixel as shown, for films stored with non-square pixels: 64/45
            for 720 × 576 shown as 16:9. Other than 1, the table gets the column ``pixel_aspect``, by which
            ``read_face`` stretches the crop; the landmark box stays in pixels of the file.
        strict: a row left out (a frame without image, landmarks without extent) is an error.

    Raises:
        DataError: see ``DataError``; labels are never guessed or clipped.
    """
    if not 0 < pixel_aspect < math.inf:
        raise DataError(f"pixel_aspect = {pixel_aspect}: must be above 0; 1 for square pixels")
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
    """Folders that hold their own JSON, flat and in parts, each clip once."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected AFEW-VA there as {LAYOUT}")
    folders: dict[str, Path] = {}
    for top in _subfolders(root):
        for folder in [top] if _holds_clip(top) else _subfolders(top):
            if not (folder / f"{folder.name}.json").is_file():
                if _holds_clip(folder):
                    builder.leave_out("clip folder without its <clip>.json", str(folder.relative_to(root)))
            elif folder.name in folders:
                raise DataError(f"clip {folder.name!r} is there twice, {folders[folder.name]} and {folder}; "
                                "remove one")  # fmt: skip
            else:
                folders[folder.name] = folder
    if not folders:
        raise DataError(f"{root}: no clip found; expected AFEW-VA there as {LAYOUT}")
    return [folders[name] for name in sorted(folders)]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _holds_clip(folder: Path) -> bool:
    """Whether the folder is a clip: it holds its JSON or numbered images."""
    return (folder / f"{folder.name}.json").is_file() or any(_is_frame(path) for path in folder.iterdir())


def _is_frame(path: Path) -> bool:
    return _is_number(path.stem) and path.suffix.lower() in _SUFFIXES


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18  # in 64 bits


def _read_clip(folder: Path, builder: FrameBuilder) -> list[dict]:
    """Rows of one clip, without ``expression``; frames without image or face go to the builder."""
    file = folder / f"{folder.name}.json"
    document = _read_json(file)
    frames, actor = document.get("frames"), document.get("actor")
    if not isinstance(frames, dict):
        raise DataError(f"{file}: 'frames' must be an object from frame id to its labels; restore the file")
    if not isinstance(actor, str) or not actor.strip():
        found = reprlib.repr(actor)
        raise DataError(f"{file}: 'actor' must name a person, not {found}; splits keep each actor together")
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
            rows.append({"path": images[int(key)], "clip": folder.name, "frame": int(key),
                         "subject": actor.strip()} | row)  # fmt: skip
    return rows


def _read_frame(labels, where: str) -> dict:
    """Valence, arousal and landmark box of one frame of the JSON."""
    if not isinstance(labels, dict):
        raise DataError(f"{where}: must be an object with valence, arousal and landmarks, not {_shown(labels)}")
    row = {}
    for axis in ("valence", "arousal"):
        value = labels.get(axis)
        if type(value) is not int or abs(value) > LABEL_LIMIT:  # bool is an int, but no label
            raise DataError(f"{where}: {axis} is {_shown(value)}; must be a whole number from "
                            f"-{LABEL_LIMIT} to {LABEL_LIMIT}: correct or delete the frame")  # fmt: skip
        row[axis] = value / LABEL_LIMIT
    box = landmark_box(_landmarks(labels.get("landmarks"), where))
    return row | dict(zip(("left", "top", "right", "bottom"), box, strict=True))


def _shown(value) -> str:
    """A value of the JSON as an error quotes it: bounded."""
    return reprlib.repr(value) if isinstance(value, (list, dict)) else json.dumps(value)[:60]


def _landmarks(points, where: str) -> np.ndarray:
    """Landmarks as (68, 2) float64, or DataError."""
    count = len(points) if isinstance(points, list) else 0
    if count != LANDMARKS:
        raise DataError(f"{where}: {count} landmarks, expected {LANDMARKS}; restore or delete the frame")
    are_pairs = all(isinstance(point, list) and len(point) == 2 for point in points)
    if are_pairs and {int, float}.issuperset(map(type, chain.from_iterable(points))):
        try:
            landmarks = np.array(points, np.float64)
        except OverflowError:  # JSON's whole numbers have no limit
            landmarks = np.array([np.inf])
        if np.isfinite(landmarks).all():  # JSON's 1e999 is read as infinity
            return landmarks
    raise DataError(f"{where}: a landmark is not a pair of numbers [x, y]; restore or delete the frame")


def _frame_images(folder: Path) -> dict[int, str]:
    """Path of each image by frame number, whatever the zero-padding of its name."""
    images: dict[int, str] = {}
    for path in filter(_is_frame, sorted(folder.iterdir())):
        other = images.setdefault(int(path.stem), str(path))
        if other != str(path):
            raise DataError(f"{path} and {Path(other).name} are both frame {int(path.stem)}; remove one")
    return images


def _read_json(file: Path) -> dict:
    """A JSON object, refusing what Python's parser lets pass: NaN, infinity and keys given twice."""

    def refuse_constant(name: str):
        raise DataError(f"{file}: {name} is not a number; correct or delete its frame")

    def refuse_twice(pairs: list[tuple]) -> dict:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise DataError(f"{file}: key {reprlib.repr(twice)} is given more than once; delete all but one")
        return entries

    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{file}: larger than {MAX_JSON_BYTES >> 20} MB, no labels of one clip; restore the file")
        text = file.read_text(encoding="utf-8-sig")
        document = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=refuse_twice)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}, line {error.lineno}: broken JSON ({error.msg}); restore it") from error
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # a number of 5,000 digits, a list within 100,000 others
        raise DataError(f"{file}: cannot be read ({error}); restore the file") from error
    if not isinstance(document, dict):
        raise DataError(f"{file}: must be an object with 'actor' and 'frames'; restore the file")
    return document


def _read_expressions(root: Path, file: str | Path | None) -> dict[tuple[str, int], tuple[int, str]]:
    """Expression code and place in the file, by (clip, frame)."""
    if file is None and not (root / "expressions.csv").is_file():
        return {}
    file = Path(file).expanduser() if file is not None else root / "expressions.csv"
    table = read_small_csv(file, "clip,frame,expression")
    require_columns(table.columns, ("clip", "frame", "expression"), file)
    codes = {}
    for number, row in enumerate(table.itertuples(), start=2):  # the header is row 1
        where = f"{file.name} row {number}"
        if not _is_number(str(row.frame)):
            raise DataError(f"{file} row {number}: frame {row.frame!r} is not a whole number; correct it")
        if row.expression not in map(str, range(len(EXPRESSIONS))):
            raise DataError(f"{file} row {number}: expression {row.expression!r} is not a code from 0 to "
                            f"{len(EXPRESSIONS) - 1}; correct or delete the row")  # fmt: skip
        key = row.clip, int(row.frame)
        if key in codes:
            raise DataError(f"{file} row {number}: clip {row.clip!r}, frame {row.frame} is listed more than "
                            "once; delete all but one")  # fmt: skip
        codes[key] = int(row.expression), where
    return codes
