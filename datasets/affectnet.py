"""Reader of AffectNet: face images from the web with expression, valence and arousal (Mollahosseini et al., 2017).

Two releases are supported, recognised by the files in their root folder:

* AffectNet 2017: ``training.csv`` and ``validation.csv``, images in sub-folders of ``IMAGE_FOLDERS``.
* AffectNet-8: ``train_set`` and ``val_set`` with ``images/<id>.jpg`` (224 × 224 face crops) and
  ``annotations/<id>_{exp,val,aro,lnd}.npy``.
"""

import csv
import io
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from tqdm import tqdm

from datasets.columns import AXES, BOX, EXPRESSIONS
from datasets.csv_files import check_header, require_columns
from datasets.faces import box_from_detection, landmark_box
from datasets.frames import FrameBuilder
from datasets.splits import Splits
from utils.base.errors import DataError
from utils.base.text import quoted

CSV_FOLDERS = ("", "Manually_Annotated_file_lists")
IMAGE_FOLDERS = ("", "images", "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
CSV_COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
LAYOUT = (
    "AffectNet 2017 (training.csv, validation.csv and the images, in the folder itself, images/ or "
    "Manually_Annotated_Images/) or AffectNet-8 (train_set/ and val_set/, each with images/ and annotations/)"
)

UNUSED_CODES = {
    8: "no expression (expression code 8)",
    9: "uncertain (expression code 9)",
    10: "no face (expression code 10)",
}
NOT_LABELLED = -2.0
MAX_NPY_BYTES = 1 << 16
CROP_SIZE = 224
"""Side of an AffectNet-8 image in pixels."""

_COORDINATES = 2 * 68
_CHUNK = 20_000  # rows of a CSV that are held as text at a time, about 20 MB
_THREADS = 4  # threads that parse landmarks; pandas releases the interpreter's lock while it parses

RowDescriber = Callable[[Any], str]
"""Maps an index label of some rows to their file and row, for messages."""


class AffectNet(NamedTuple):
    """The two parts of the release, each a frame table. Identities are unknown: every image is its own subject."""

    training: pd.DataFrame
    validation: pd.DataFrame


def read_affectnet(root: str | Path, clean: bool = False, strict: bool = False) -> AffectNet:
    """Read AffectNet 2017 or AffectNet-8.

    Rows with expression codes 8-10, missing images, values that are not numbers, or faces without a usable box are
    left out and counted by reason in the log. Valence or arousal -2 becomes NaN (not labelled).

    Args:
        root: folder of the release.
        clean: keep only images whose expression agrees with valence and arousal (``is_consistent``). Images without
            valence and arousal cannot be checked and are left out, too.
        strict: raise an error for any row left out, except those that ``clean`` leaves out.

    Raises:
        DataError: no release or two are found, a file cannot be read, a label is out of range (labels are never
            clipped), or nothing is left.
    """
    root = Path(root).expanduser().absolute()
    csv_folder = next((root / name for name in CSV_FOLDERS if (root / name / "training.csv").is_file()), None)
    is_npy = (root / "train_set").is_dir()
    if csv_folder and is_npy:
        raise DataError(f"{root}: contains both training.csv and train_set/; move one release elsewhere")
    if not (csv_folder or is_npy):
        raise DataError(f"{root}: no AffectNet found; expected {LAYOUT}")
    if csv_folder:
        files = [csv_folder / "training.csv", csv_folder / "validation.csv"]
        return AffectNet(*(_read_csv(root, file, clean, strict) for file in files))
    return AffectNet(*(_read_npy(root / name, clean, strict) for name in ("train_set", "val_set")))


def split_affectnet(data: AffectNet, validation_share: float = 0.05, seed: int = 0) -> Splits:
    """Split AffectNet: its validation part is the test set, a share of its training part the validation set.

    Args:
        data: as read by ``read_affectnet``.
        validation_share: share of each expression's training images that validate, in (0, 1); at least one image of
            each expression that has two.
        seed: the same seed gives the same split.

    Raises:
        DataError: the share is out of range, an image is in both parts, or no expression has two training images.
    """
    if not 0 < validation_share < 1:
        raise DataError(f"validation_share = {validation_share}: must lie between 0 and 1, both excluded")
    shared = set(data.training["path"]) & set(data.validation["path"])
    if shared:
        raise DataError(
            f"{len(shared)} images are both in training and validation, such as {min(shared)}; "
            "delete their rows from one of them"
        )
    rng = np.random.default_rng(seed)
    in_validation = np.zeros(len(data.training), bool)
    for rows in data.training.groupby("expression").indices.values():
        count = min(max(1, round(validation_share * len(rows))), len(rows) - 1)
        in_validation[rng.permutation(rows)[:count]] = True
    if not in_validation.any():
        raise DataError("no expression has two training images, one to train and one to validate: add images")
    train, validation = (data.training[part].reset_index(drop=True) for part in (~in_validation, in_validation))
    return Splits(train, validation, data.validation)


def is_consistent(expression: ArrayLike, valence: ArrayLike, arousal: ArrayLike) -> np.ndarray:
    """Whether expression and valence/arousal agree, by the rule of EmoNet's cleaned AffectNet (Toisoul et al., 2021).

    Args:
        expression: (N,) codes 0-7.
        valence: (N,) in [-1, 1]; NaN is inconsistent.
        arousal: (N,) in [-1, 1]; NaN is inconsistent.

    Returns:
        (N,) bool.
    """
    expression = np.asarray(expression)
    valence, arousal = np.asarray(valence, np.float64), np.asarray(arousal, np.float64)
    intensity = np.hypot(valence, arousal)
    strong = intensity > 0.2
    rules = {
        "neutral": intensity < 0.2,
        "happy": strong & (valence > 0),
        "sad": strong & (valence < 0),
        "surprise": strong & (arousal > 0),
        "fear": strong & (arousal >= 0) & (valence <= 0),
        "disgust": (intensity > 0.3) & (valence < 0),
        "anger": strong & (arousal > 0),
        "contempt": strong & (valence < 0),
    }
    return np.select([expression == code for code in range(8)], [rules[name] for name in EXPRESSIONS], False)


# Both readers first make raw rows: a DataFrame with the columns image (its name in the release), expression, valence
# and arousal (NaN = not a number). _keep_labelled filters them by their labels. The readers then add the columns path
# (None = no such file) and landmark box (NaN = none), and _keep_faces filters by those.


def _keep_labelled(rows: pd.DataFrame, builder: FrameBuilder, describe_row: RowDescriber, clean: bool) -> pd.DataFrame:
    """Keep raw rows with usable labels, and replace -2 by NaN."""
    keep = partial(builder.keep, describe_row=describe_row)
    rows = keep(rows, rows["expression"].notna(), "expression is not a number")
    for unused, reason in UNUSED_CODES.items():
        rows = keep(rows, rows["expression"] != unused, reason)
    code = rows["expression"]
    _check_none(~code.isin(range(len(EXPRESSIONS))), code, describe_row, "not a code from 0 to 10")
    rows = keep(rows, rows[list(AXES)].notna().all(axis=1), "valence or arousal is not a number")
    rows = rows.assign(expression=rows["expression"].astype(np.int64))
    for axis in AXES:
        value = rows[axis]
        outside = (value.abs() > 1) & (value != NOT_LABELLED)
        _check_none(outside, value, describe_row, "outside [-1, 1] and not -2 (not labelled)")
        rows = rows.assign(**{axis: value.mask(value == NOT_LABELLED)})
    if clean:
        labelled = rows[list(AXES)].notna().all(axis=1)
        rows = keep(rows, labelled, "clean: no valence and arousal to check against", requested=True)
        agrees = is_consistent(rows["expression"], rows["valence"], rows["arousal"])
        rows = keep(rows, agrees, "clean: expression and valence/arousal disagree", requested=True)
    return rows


def _keep_faces(rows: pd.DataFrame, builder: FrameBuilder, describe_row: RowDescriber) -> pd.DataFrame:
    """Keep raw rows with an image and a usable box, as rows of a frame table."""
    keep = partial(builder.keep, describe_row=describe_row)
    rows = keep(rows, rows["path"].notna(), "image missing")
    rows = keep(rows, np.isfinite(rows[BOX]).all(axis=1), "landmarks or face rectangle are not numbers")
    has_area = (rows["right"] > rows["left"]) & (rows["bottom"] > rows["top"])
    rows = keep(rows, has_area, "landmarks or face rectangle without area")
    return rows.assign(clip=rows["image"], subject=rows["image"], frame=0)


def _check_none(invalid: pd.Series, values: pd.Series, describe_row: RowDescriber, problem: str) -> None:
    """Raise DataError for the first invalid value, if there is one."""
    if invalid.any():
        row: Any = invalid.idxmax()
        raise DataError(f"{describe_row(row)}: {values.name} is {values[row]:g}, {problem}; correct or delete it")


# AffectNet 2017


def _read_csv(root: Path, file: Path, clean: bool, strict: bool) -> pd.DataFrame:
    """Read one CSV of AffectNet 2017 as a frame table."""
    builder = FrameBuilder(file, strict)
    find = _ImageFinder([root / name for name in IMAGE_FOLDERS])

    def describe_row(index: int) -> str:
        return f"{file.name} row {index + 2}"  # the header is row 1

    for chunk in _csv_chunks(file):
        require_columns(chunk.columns, CSV_COLUMNS, file)
        chunk = chunk.fillna("")  # missing cells of rows that are too short
        rows = chunk[["expression", "valence", "arousal"]].apply(pd.to_numeric, errors="coerce")
        rows["image"] = chunk["subDirectory_filePath"].str.replace("\\", "/", regex=False)
        rows = _keep_labelled(rows, builder, describe_row, clean)
        rows["path"] = find(rows["image"], describe_row)
        rows[BOX] = _csv_boxes(chunk.loc[rows.index])
        builder.add(_keep_faces(rows, builder, describe_row))
    return builder.build()


def _csv_chunks(file: Path) -> Iterator[pd.DataFrame]:
    """Read the CSV as text, ``_CHUNK`` rows at a time."""
    check_header(file)
    as_text: dict[str, Any] = {"dtype": object, "keep_default_na": False, "index_col": False, "skip_blank_lines": False}
    try:
        with pd.read_csv(file, chunksize=_CHUNK, encoding="utf-8-sig", **as_text) as reader:
            while (chunk := _next_chunk(reader)) is not None:
                yield chunk
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise DataError(f"{file}: cannot be read as CSV ({str(error).strip()}); restore it") from error


def _next_chunk(reader: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    """The next chunk, or None; rows longer than the header, which pandas would cut with a warning, are an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


class _ImageFinder:
    """Finds images by listing each directory once: 300,000 look-ups in memory instead of on the disk."""

    def __init__(self, folders: list[Path]):
        self.folders = [str(folder) for folder in folders if folder.is_dir()]
        self._listed: dict[str, dict[str, str]] = {}

    def __call__(self, images: pd.Series, describe_row: RowDescriber) -> list[str | None]:
        """Absolute path of each of N images, None where no folder has it; DataError if a path leaves the folders."""
        parts = [image.rpartition("/") for image in images]
        for index, (directory, slash, _) in zip(images.index, parts, strict=True):
            if directory not in self._listed:
                if _leads_out(directory + slash):
                    raise DataError(
                        f"{describe_row(index)}: path {quoted(images[index])} leads out of the dataset's "
                        "folder; correct or delete the row"
                    )
                self._listed[directory] = self._list(directory)
        return [self._listed[directory].get(file) for directory, _, file in parts]

    def _list(self, directory: str) -> dict[str, str]:
        """Map the file names in one sub-directory of all folders to their paths; earlier folders take precedence."""
        files: dict[str, str] = {}
        for folder in self.folders:
            path = os.path.join(folder, directory)
            for entry in os.scandir(path) if os.path.isdir(path) else ():
                files.setdefault(entry.name, entry.path)
        return files


def _leads_out(directory: str) -> bool:
    """Whether a directory in the CSV (with its final slash) is absolute or contains "..", and may leave the root."""
    return directory.startswith("/") or directory[1:2] == ":" or ".." in directory.split("/")


def _csv_boxes(chunk: pd.DataFrame) -> np.ndarray:
    """Landmark boxes (N, 4) of CSV rows: from the landmarks, or from the face rectangle of rows without landmarks."""
    has_landmarks = (chunk["facial_landmarks"].str.strip() != "").to_numpy()
    boxes = np.empty((len(chunk), 4))
    boxes[has_landmarks] = _parse_landmarks(chunk["facial_landmarks"].to_numpy()[has_landmarks])
    sides = chunk.loc[~has_landmarks, ["face_x", "face_y", "face_width", "face_height"]]
    x, y, width, height = sides.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64).T
    boxes[~has_landmarks] = box_from_detection(x, y, x + width, y + height)
    return boxes


def _parse_landmarks(texts: np.ndarray) -> np.ndarray:
    """Parse (N,) strings "x;y;x;y;…" to landmark boxes (N, 4); NaN where there are not 136 numbers."""
    boxes = np.full((len(texts), 4), np.nan)
    complete = np.array([text.count(";") == _COORDINATES - 1 and not _has_line_break(text) for text in texts], bool)
    parts = [part for part in np.array_split(texts[complete], _THREADS) if len(part)]
    if parts:
        with ThreadPoolExecutor(_THREADS) as pool:
            boxes[complete] = np.concatenate(list(pool.map(_parse_complete_landmarks, parts)))
    return boxes


def _parse_complete_landmarks(texts: np.ndarray) -> np.ndarray:
    """Parse (N,) strings of 136 fields to landmark boxes (N, 4); NaN where a field is not a number."""
    # pandas parses numbers three times as fast as numpy.fromstring.
    table = pd.read_csv(
        io.StringIO("\n".join(texts)),
        sep=";",
        header=None,
        low_memory=False,
        quoting=csv.QUOTE_NONE,
        skip_blank_lines=False,
    )
    if not all(dtype.kind in "if" for dtype in table.dtypes):
        table = table.apply(pd.to_numeric, errors="coerce")
    points = table.to_numpy(np.float64).T.reshape(_COORDINATES // 2, 2, -1)
    return landmark_box(points.transpose(2, 0, 1))


def _has_line_break(text: str) -> bool:
    """Whether the text would end a row of a CSV; a regular expression takes five times as long."""
    return "\n" in text or "\r" in text or "\0" in text


# AffectNet-8


def _read_npy(folder: Path, clean: bool, strict: bool) -> pd.DataFrame:
    """Read one set of AffectNet-8 as a frame table."""
    images, annotations = folder / "images", folder / "annotations"
    for subfolder in (images, annotations):
        if not subfolder.is_dir():
            raise DataError(f"{subfolder}: no such folder; AffectNet-8 has images/ and annotations/ in each set")
    builder = FrameBuilder(folder, strict)
    paths = {
        os.path.splitext(entry.name)[0]: entry.path
        for entry in os.scandir(images)
        if entry.name.lower().endswith((".jpg", ".jpeg", ".png"))
    }
    files = {entry.name for entry in os.scandir(annotations)}
    keys = {name.removesuffix("_exp.npy") for name in files if name.endswith("_exp.npy")}
    for key in sorted(paths.keys() - keys):
        builder.leave_out("image without annotation", f"{folder.name}/images/{key}")
    progress = tqdm(
        sorted(keys), desc=folder.name, disable=None, leave=False
    )  # disable=None shows it only on a terminal
    values = {key: _read_annotations(annotations, key, f"{key}_lnd.npy" in files) for key in progress}
    rows = pd.DataFrame.from_dict(values, "index", np.float64, ["expression", *AXES, *BOX])
    rows["image"] = [f"{folder.name}/{key}" for key in rows.index]
    rows["path"] = [paths.get(key) for key in rows.index]

    def describe_row(key: str) -> str:
        return f"{folder.name}/annotations/{key}"

    builder.add(_keep_faces(_keep_labelled(rows, builder, describe_row, clean), builder, describe_row))
    return builder.build()


def _read_annotations(folder: Path, key: str, has_landmarks: bool) -> list[float]:
    """Expression, valence, arousal and landmark box of one image; NaN where a file does not contain numbers."""
    labels = [_load(folder / f"{key}_{kind}.npy", 1)[0] for kind in ("exp", "val", "aro")]
    if not has_landmarks:
        return [*labels, *box_from_detection(0, 0, CROP_SIZE, CROP_SIZE)]
    landmarks = _load(folder / f"{key}_lnd.npy", _COORDINATES)
    return [*labels, *landmark_box(landmarks.reshape(-1, 2))]


def _load(file: Path, size: int) -> np.ndarray:
    """Load a .npy file as (size,) float64, converting strings; all NaN if it does not hold that many numbers."""
    try:
        values = np.load(file, allow_pickle=False) if file.stat().st_size <= MAX_NPY_BYTES else None
        if isinstance(values, np.ndarray) and values.size == size and values.dtype.kind in "iufSU":
            return values.astype(np.float64).reshape(-1)
    except Exception:  # numpy may raise any exception for a damaged file
        pass
    return np.full(size, np.nan)
