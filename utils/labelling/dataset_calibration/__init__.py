"""Calibrates the evidence of a labeller on the labelled clips of a data set.

foreign          fits the constant error of evidence that comes from anchors of other people
shots            fits the part of the evidence's constant error that differs between the clips of one person
calibrate_clips  fits a calibration on labelled clips
read_or_fit      reads the calibration for a data set, or fits it on the validation clips
"""
