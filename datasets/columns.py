"""Names of columns and classes that frame tables, label tables and reports share."""

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
"""Expression classes; the index of a class is its AffectNet code."""

AXES = ("valence", "arousal")

PERSON, PREDICTED = "person", "predicted"
"""Values of the column `source` of a table of labels, which names the origin of the label: a label as a person gave it;
the prediction of a network without any label. The other values are the names of anchor rules and baselines."""

BOX = ["left", "top", "right", "bottom"]
"""Edges of a landmark box in pixels (see `datasets.faces`)."""
