"""Reading JSON files that the project wrote, as pydantic models."""

import json
from pathlib import Path
from typing import TypeVar

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
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) <= MAX_BYTES:
            return kind.model_validate(json.loads(text))
        problem = f"larger than {MAX_BYTES >> 20} MB"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"is not {what} ({'.'.join(map(str, first['loc']))[:80]}: {first['msg']})"
    except (ValueError, RecursionError) as error:
        problem = f"is not valid JSON ({str(error)[:80]})"
    raise error_class(f"{path}: {problem}; {remedy}")
