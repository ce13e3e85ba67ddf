"""Names of columns and classes that frame tables, label tables and reports share."""

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
"""Expression classes; the index of a class is its AffectNet code."""

AXES = ("valence", "arousal")

BOX = ["left", "top", "right", "bottom"]
"""Edges of a landmark box in pixels (see `datasets.faces`)."""
