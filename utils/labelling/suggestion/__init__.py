"""Which frames to label next.

covariances  covariances of candidate frames, which suggestions update label by label
suggest      suggestions within one clip
archive      the next suggestion over all clips of an archive
"""
