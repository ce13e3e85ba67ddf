"""Text from untrusted files, made safe for spreadsheets, terminals and file names."""

import re

MAX_NAME_BYTES = 100
"""Limit of `safe_name`. File systems allow 255 bytes, and suffixes are added to the name."""

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


def printable(text: str) -> str:
    """Escape control characters as `repr` does, except line feeds."""
    return _CONTROL_CHARACTERS.sub(lambda match: repr(match[0])[1:-1], text)
