"""A person's continuous rating of one video, whatever the format of its file.

::

    rating = read_rating(Path("clip_anna_valence.csv"))

``formats.FORMATS`` lists the formats.
"""

from pathlib import Path

from datasets.annotations.formats import format_of
from datasets.annotations.rating_files import Rating
from utils.base.errors import DataError

__all__ = ["Rating", "read_rating"]


def read_rating(path: Path) -> Rating:
    """Read the continuous rating of one video by one person.

    Scales other than -1 to 1 are rescaled linearly, from the range that the file states.

    Args:
        path: a file in one of the formats that hold ratings.

    Raises:
        DataError: the file cannot be read, holds several ratings, states no scale, or has an invalid row.
    """
    path = path.expanduser()
    rating_format = format_of(path, "rating")
    if rating_format.read_rating is None:
        raise DataError(
            f"{path}: holds labels of frames ({rating_format.name}) rather than a rating; pass it by --labels"
        )
    return rating_format.read_rating(path)
