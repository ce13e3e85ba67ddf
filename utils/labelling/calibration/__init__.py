"""How far each source of evidence can be trusted: fitted parameters, and how they are fitted to evidence and labels.

calibration   the fitted parameters of the sources of evidence
file          calibration.json, which keeps them beside a checkpoint
fit_problems  segments of clips with simulated support frames, to fit a calibration
likelihood    the likelihood of the true labels in these problems, and its maximum
fitting       fits a calibration to evidence and true labels
source_grid   the likelihood of gain, error and offset of an uncalibrated source, on a grid
unrelated     the probability that an uncalibrated source has nothing to do with the labels
adaptation    fits uncalibrated sources to the given labels
"""
