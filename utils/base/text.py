"""Text from untrusted files, made safe for spreadsheets, terminals and file names."""

import re
from collections.abc import Sequence

MAX_NAME_BYTES = 100
"""Limit of `safe_name`. File systems allow 255 bytes, and suffixes are added to the name."""

EXCERPT = 40
"""Characters of a file's text that `quoted` puts into an error message."""

MAX_NAMES = 10
"""Names that `listed` puts into an error message."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # all but the line feed


def safe_text(value: str) -> str:
    """Prepare text for a CSV cell: an apostrophe in front stops spreadsheets from running it as a formula."""
    return f"'{value}" if value.startswith(_FORMULA_STARTS) or value.lstrip().startswith(_FORMULA_STARTS) else value


def plain_text(value: str) -> str:
    """Return the text that `safe_text` was given; the inverse of that function."""
    return value[1:] if value.startswith("'") and safe_text(value[1:]) == value else value


def safe_name(text: str) -> str:
    """Turn text into a file name: letters, digits, `.`, `-` and `_`; `video` if nothing remains."""
    safe = re.sub(r"[^\w.-]+", "_", text).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return safe.strip("._") or "video"


def quoted(text: str | None) -> str:
    """Text from a file for an error message: quoted, on one line, at most EXCERPT characters."""
    text = text or ""
    return repr(text if len(text) <= EXCERPT else text[:EXCERPT] + "…")


def listed(names: Sequence[str]) -> str:
    """Names from a file for an error message: quoted, separated by commas, at most MAX_NAMES of them."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(quoted, names[:MAX_NAMES])) + more


def printable(text: str) -> str:
    """Escape control characters as `repr` does, except line feeds."""
    return _CONTROL_CHARACTERS.sub(lambda match: repr(match[0])[1:-1], text)
