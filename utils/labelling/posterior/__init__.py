"""The posterior of the labels of a clip, given its evidence and its given labels, for one axis.

process     the Gaussian process: parameters, covariances, state-space model
offsets     Gaussian distributions of the offsets of the sources of evidence
gp          the posterior of one Gaussian process at the frames of one clip
outliers    rejection of outliers among the given labels
mixture     several posteriors, weighted by how well they predict the given labels
"""
