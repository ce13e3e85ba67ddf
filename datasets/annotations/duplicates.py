"""Labels whose faces are known: one label for each face, frame and annotator."""

import pandas as pd

from utils.base.errors import DataError


def refuse_duplicates(labels: pd.DataFrame) -> None:
    """Check that nobody labelled the same face twice in a frame.

    Args:
        labels: one row per label, with track, frame, annotator and where.

    Raises:
        DataError: names the first two labels of the same face.
    """
    duplicates = labels[labels.duplicated(["track", "frame", "annotator"], keep=False)]
    if len(duplicates):
        first, second = duplicates.sort_values(["track", "frame", "annotator"], kind="stable")["where"].iloc[:2]
        raise DataError(
            f"{second}: this face already has a label in frame {duplicates['frame'].iloc[0]}, {first}; delete one of "
            "them, or name their annotators"
        )
