"""The demo set: rendered faces in AFEW-VA's layout.

face      a person, a head pose, and the outlines that valence and arousal give a face
pen       drawing primitives: shapes in head units on an image
layers    what never moves in a clip: backdrop, body, shading at rest, hair
paint     paints one frame
people    random identities
traces    labels and head poses over a clip
dataset   writes the whole set
"""
