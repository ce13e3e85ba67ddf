"""The posterior of the labels of a clip, given its evidence and its given labels, for one axis.

process     the Gaussian process: parameters, covariances, state-space model
activity    how fast the evidence changes
states      the states of all frames, by a banded precision matrix
offsets     Gaussian distributions of the offsets of the sources of evidence
gp          the posterior of one Gaussian process at the frames of one clip
outliers    rejection of outliers among the given labels
mixture     several explanations of the labels, weighted by how well they predict them
"""
