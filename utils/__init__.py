"""Everything between the networks (`models`), the data sets (`datasets`) and the scripts.

From low to high; a module imports only from its own package and from lower layers. `models` and `datasets` lie
between `base` and the rest.

base         errors, atomic file writing, signals, prefetching
metrics      regression and classification scores
config       typed settings from YAML files and the command line
plots        figures of a run
compute      device and precision, torchrun ranks, backends of the encoder, cached embeddings
runs         run folders, checkpoints, resuming, exit codes
training     losses, the training loop, training and evaluation of the Siamese network
labelling    from a support-set to labels of all frames: anchors, Gaussian processes, calibration, suggestions, audit
supervised   MT-CLAR + SL: a supervised head on frozen embeddings
videos       the user's own videos: face tracks, labels, suggestions, checks, predictions
annotate     the annotation page in the browser
"""
