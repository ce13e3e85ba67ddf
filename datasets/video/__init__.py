"""The user's own videos.

reading        a video file or a folder of images, one frame at a time
random_access  any frame of a video by its number
detector       the face detector
shots          finding the cuts between shots
tracks         following each face through a video, and choosing which to work on
crops          the face crops of some tracks
"""
