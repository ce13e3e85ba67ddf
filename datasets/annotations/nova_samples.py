"""NOVA's continuous annotations: the two files of an axis, and their samples.

``<name>.valence.annotation`` is the header::

    <annotation ssi-v="3">
        <info ftype="ASCII" size="7501" />
        <meta annotator="Anna" role="" />
        <scheme name="valence" type="CONTINUOUS" sr="25" min="-1" max="1" />
    </annotation>

``<name>.valence.annotation~`` has one line per sample, ``score;confidence``, or, if ``ftype`` is BINARY, both as
little-endian float32. Sample i is at i / sr seconds; ``NaN`` means no score. The header of the other axis is found by
replacing the last ``valence`` or ``arousal`` in the name. NOVA writes headers in the encoding of the system, without
declaring it, and does not escape attributes; both are accepted.

Format: NOVA's manual, https://github.com/hcmlab/nova
"""

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from datasets.annotations.cells import parse_number
from datasets.annotations.files import MAX_ROWS, MAX_TEXT_BYTES, MAX_XML_BYTES, parse_xml, read_bytes, read_text
from datasets.annotations.rating_files import Scale, parse_scale
from datasets.columns import AXES
from utils.base.errors import DataError
from utils.base.text import quoted

ENDING = ".annotation"

_AXIS = re.compile("|".join(AXES), re.IGNORECASE)
_DECLARED_ENCODING = re.compile(rb"^\s*<\?xml[^>]*\sencoding\s*=")
_ATTRIBUTE = re.compile(r'(?<==)\s*"[^"]*"')
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)")
_SAMPLE = np.dtype([("score", "<f4"), ("confidence", "<f4")])


class Samples(NamedTuple):
    """The samples of one axis.

    Attributes:
        rate: samples per second.
        annotator: who rated; "" = unknown.
        scores: (S,) float64 in [-1, 1]; NaN = no score.
    """

    rate: float
    annotator: str
    scores: np.ndarray


def read_samples(header: Path, axis: str) -> Samples:
    """Read header and samples of one axis. Scores are rescaled linearly from the range of the scheme to [-1, 1].

    Raises:
        DataError: a file is missing or damaged, the scheme is not continuous or of another axis, or a score is outside
            the range of the scheme.
    """
    if not header.is_file():
        raise DataError(
            f"{header}: no such file; valence and arousal must be in the same folder, with corresponding names"
        )
    document = parse_xml(_header_text(header), header, "annotation")
    rate, scale = _check_scheme(document.find("scheme"), axis, header)
    info, meta = document.find("info"), document.find("meta")
    info = Element("info") if info is None else info
    data = header.with_name(f"{header.name}~")
    kind = info.get("ftype", "ASCII").upper()
    if kind not in ("ASCII", "BINARY"):
        raise DataError(f"{header}: its samples are {quoted(info.get('ftype'))}; save it as ASCII or BINARY in NOVA")
    scores = _ascii_scores(data, axis, scale) if kind == "ASCII" else _binary_scores(data, axis, scale)
    size = info.get("size")
    if size is not None and size.strip() != str(len(scores)):
        raise DataError(
            f"{data}: has {len(scores)} samples where {header.name} says {quoted(size)}; restore both files"
        )
    return Samples(rate, "" if meta is None else meta.get("annotator", "").strip(), scores)


def header_of(axis: str, path: Path) -> Path:
    """Path of the header of an axis, given the path of either axis's header."""
    matches = list(_AXIS.finditer(path.name))
    if not matches:
        raise DataError(
            f"{path}: its name contains neither valence nor arousal; rename it and its partner, such as "
            f"{path.stem}.valence{ENDING} and {path.stem}.arousal{ENDING}"
        )
    start, end = matches[-1].span()
    if matches[-1][0].lower() == axis:
        return path
    return path.with_name(path.name[:start] + _with_case_of(matches[-1][0], axis) + path.name[end:])


def _with_case_of(other: str, axis: str) -> str:
    """The axis in upper case, capitalised or in lower case, as the other word is."""
    return axis.upper() if other.isupper() else axis.capitalize() if other[0].isupper() else axis


def _header_text(header: Path) -> bytes | str:
    """Content of a header for the XML parser, with characters escaped that NOVA leaves bare in attributes."""
    data = read_bytes(header, MAX_XML_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if _DECLARED_ENCODING.match(data):
            return data
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError as error:
            raise DataError(f"{header}: is neither UTF-8 nor Windows-1252 text; save it in UTF-8") from error
    return _ATTRIBUTE.sub(lambda match: _BARE_AMPERSAND.sub("&amp;", match[0]).replace("<", "&lt;"), text)


def _check_scheme(scheme: Element | None, axis: str, header: Path) -> tuple[float, Scale]:
    """Samples per second and range of a scheme; DataError unless it is continuous and of this axis."""
    if scheme is None or scheme.get("type", "").upper() != "CONTINUOUS":
        raise DataError(f"{header}: holds no continuous scheme; labels are read from NOVA's continuous annotations")
    if axis not in scheme.get("name", "").lower():
        raise DataError(f"{header}: its scheme is {quoted(scheme.get('name', ''))}, not {axis}; rename file or scheme")
    rate = parse_number(scheme.get("sr", ""), "sr", f"{header} scheme")
    if rate <= 0:
        raise DataError(f"{header}: {rate:g} samples a second; correct sr")
    return rate, parse_scale(scheme.get("min", ""), scheme.get("max", ""), f"{header} scheme")


def _ascii_scores(data: Path, axis: str, scale: Scale) -> np.ndarray:
    """Scores of an ASCII file."""
    lines = read_text(data, "save it as ASCII in NOVA").splitlines()
    _check_count(len(lines), data)
    return np.array([_parse_line(line, axis, scale, f"{data} line {row}") for row, line in enumerate(lines, start=1)])


def _check_count(count: int, data: Path) -> None:
    """Raise DataError if a file has more samples than a video can need."""
    if count > MAX_ROWS:
        raise DataError(f"{data}: more than {MAX_ROWS:,} samples; lower the rate, or split it")


def _parse_line(line: str, axis: str, scale: Scale, where: str) -> float:
    """Score of a line; NaN if it has none or its confidence is 0."""
    score, _, confidence = line.partition(";")
    score = score.strip()
    if score.lower() == "nan" or confidence.strip() and parse_number(confidence, "confidence", where) == 0:
        return np.nan
    if not score:
        raise DataError(f"{where}: has no score; write NaN for a sample without score")
    return scale.rescale(parse_number(score, axis, where), axis, where)


def _binary_scores(data: Path, axis: str, scale: Scale) -> np.ndarray:
    """Scores of a BINARY file."""
    content = read_bytes(data, MAX_TEXT_BYTES)
    if len(content) % _SAMPLE.itemsize:
        raise DataError(f"{data}: its {len(content)} bytes are no whole number of 8-byte samples; restore the file")
    samples = np.frombuffer(content, _SAMPLE)
    _check_count(len(samples), data)
    with np.errstate(invalid="ignore"):  # some patterns of NaN raise a warning when they are converted
        scores = np.where(samples["confidence"] == 0, np.nan, samples["score"]).astype(np.float64)
    if np.isinf(scores).any():
        raise DataError(f"{data} sample {np.flatnonzero(np.isinf(scores))[0] + 1}: {axis} is not finite; correct it")
    return np.array(
        [scale.rescale(score, axis, f"{data} sample {row}") for row, score in enumerate(scores.tolist(), start=1)]
    )
