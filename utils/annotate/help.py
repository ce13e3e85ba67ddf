"""What the page's help says."""

KEYS = (
    ("click in the plane", "label the frame"),
    ("A D · S W", "valence · arousal down and up by 0.05, from the label or the estimate; with Shift by 0.01"),
    ("Enter", "take the estimate as the label"),
    ("N", "next: the frame whose label is expected to help most"),
    ("← →", "a frame back or on; with Shift a second"),
    ("Home End", "first and last frame"),
    ("[ ]", "previous and next label"),
    ("C", "next label that the others contradict"),
    ("T", "note on the label; Enter or Esc to leave"),
    ("Delete", "take the label away"),
    ("Ctrl+Z Ctrl+Y", "undo, redo"),
    ("Space", "play, pause"),
    ("drag a point", "move a label on one axis"),
    ("?", "this help"),
)

MEANING = (
    "Band and ellipse hold the true label nine times in ten, as measured on the network's validation clips.",
    "The expected error is what the remaining doubt amounts to over all frames; Next names what the best label makes "
    "of it.",
    "Misread: the labels say that the network does not see this axis in this face. Between labels the estimate then "
    "follows time rather than the face, and more labels are needed.",
    "A label that the others contradict may well be right: look at the frame again.",
)
