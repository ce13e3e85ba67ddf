"""Reading JSON files that the project wrote: of limited size, and checked by pydantic models."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from utils.base.errors import UserError

MAX_BYTES = 16 << 20

Content = TypeVar("Content", bound=BaseModel)


def read_json(path: Path, kind: type[Content], what: str, remedy: str, error_class: type[UserError]) -> Content:
    """Read and check a JSON file.

    Args:
        path: the file.
        kind: the model of its content.
        what: what the file should be, for error messages, such as "a manifest".
        remedy: what the user can do about a file that is not.
        error_class: the error to raise.

    Raises:
        UserError: of class `error_class`; the file cannot be read, is too large, or does not fit the model.
    """
    try:
        return kind.model_validate(load_json(path))
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"is not {what} ({'.'.join(map(str, first['loc']))[:80]}: {first['msg']})"
    except ValueError as error:
        problem = str(error)
    raise error_class(f"{path}: {problem}; {remedy}")


def load_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is larger than MAX_BYTES or is not valid JSON; the message says so, as a predicate to the path.
    """
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES >> 20} MB")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid JSON ({str(error)[:80]})") from None
