"""Labels the valence and arousal of all frames of a clip from a few labelled frames.

What happens to a clip of three frames, 0.2 s apart, on one axis, valence (with the default parameters):

    1. Evidence. The Siamese network predicts by how much each frame differs from the mean of the clip: -0.17, -0.07,
       0.24. The evidence of other sources (another network, a table of another tool, a person's continuous rating) is
       absolute, such as 0.0, 0.1, 0.4. `EncodedClip.evidence` has a column for each source.
    2. Given labels. A person has labelled the second frame: 0.2. Labelled frames are `Anchors`.
    3. Posterior. Label and differences together suggest 0.10, 0.20 and 0.51. `GPPosterior` is a Gaussian process over
       time that weighs them: the label is exact, the evidence has errors, and labels change smoothly. It gives 0.05,
       0.20 and 0.41: the slope between the last two frames also speaks for a lower first one.
    4. Mixture. The network may misread this face. With three or more labels, `MixturePosterior` also has a posterior by
       each of several sources alone, and one by time alone. It weighs these posteriors, one per explanation of the
       labels, by how well they predict the labels.
    5. Labels. `Labels` are the means of the mixture (here, with one label, of step 3), with 90 % intervals:
       0.05 ± 0.27, 0.20 ± 0 and 0.41 ± 0.29.

The other rules (`anchors`), one of which is the paper's, need no posterior: label = label of the anchor + predicted
difference.

A `Calibration` says how large the errors of the evidence are. It is fitted on validation clips, whose true labels are
known, and kept in calibration.json beside the network. A source without a calibration starts with prior parameters, and
`Labeller.adapt` fits it to the given labels of the clips to be labelled. The Siamese network is never adapted:
uncalibrated, it has default parameters.

Read in this order; the other modules can wait:

    fsl_mtclar.py           label_test_clips: reader, labeller, labels, report
    types                   EncodedClip, Anchors, LabelObservations, Labels
    anchors                 the rules that need no posterior
    sources                 EvidenceSources
    clips                   ClipReader, DatasetClip
    clip_encoder            step 1: evidence from predicted differences
    labeller                steps 3 to 5 for a clip, and the adaptation of sources
    build_labeller          the calibration that a labeller gets
    clip_anchors            step 2: which frames of a data set are labelled
    dataset                 all test clips, by every rule
    posterior/process       step 3: the Gaussian process and its parameters
    posterior/activity      how much the evidence changes around each frame
    posterior/offsets       Gaussian distributions of the offsets
    posterior/gp            the posterior; `states`, which it uses, can be taken as given
    posterior/mixture       step 4
    calibration/calibration the parameters of both axes, and the interval widths

Glossary:

    axis             valence or arousal, each in [-1, 1].
    clip             what is labelled: the frames of one person in a data set, or of one face track, in order of time.
    track            the face of one person, followed through a shot of a video. Each track is labelled as a clip.
    shot             the frames of a video between two cuts. Its offset is the part that differs between the clips of
                     one person.
    support-set      the labelled frames of a clip, its support frames.
    anchor           a labelled frame from which other frames are labelled: usually a support frame of the clip, or a
                     frame of the training set or of other people, which is then foreign.
    given label      the label of an anchor. Its error is a standard deviation; 0 means exact.
    true label       the label that a frame should have; on a data set, that of its table.
    latent label f   the Gaussian process of one axis. True labels scatter about it by the nugget, a standard deviation.
    source           a source of evidence: the Siamese network, an estimator (another network or a table) or a rater.
    origin           of a label in an output table, its column `source`: a person, or the rule that estimated it.
    offset           error of the evidence that is constant within a clip.
    explanation      one way to explain the given labels: by all evidence, by one source alone, or by time alone.
    misread          an axis of a clip is misread if the given labels move most of the weight to the explanation by time
                     alone. It is not if that explanation had most of the prior weight already.
    rule             the method that turns anchors into labels: `fused`, by the Gaussian process, or another, such as
                     the paper's, `previous`.
    baseline         a method to compare with: by labels and time alone (hold, linear), or an estimator's own estimates.

All modules and packages, from low to high; each imports only those above it in this list:

    clip_rating       the continuous rating of a clip by one person
    types             encoded clip, anchors, given labels, estimated labels
    support           strategies: which frames of a clip are labelled
    anchors           rules and baselines: which anchors are used for a frame, and how their estimates are averaged
    check             which frames to draw to check the estimated labels, and a bound of their error
    agreement         agreement of several annotators
    posterior/        the posterior of the labels of a clip, given its evidence and its given labels, for one axis
    calibration/      how far each source of evidence can be trusted: parameters, and how they are fitted
    raters/           continuous ratings as evidence: each rater's lag, gain and error
    suggestion/       which frames to label next, in a clip and over all clips of an archive
    people            posteriors of all tracks of one person, whose given labels inform each other
    incremental       the posteriors of a clip, fast to compute again after each label
    audit             given labels that the other given labels of the clip contradict
    label_noise       standard deviation of a person's labels, estimated from the labels
    clip_encoder      computes the evidence of the Siamese network for a clip
    labeller          labels clips by any rule, with the calibration of all sources
    adaptation_report what the labeller has fitted to the given labels, for the log and the run folder
    encoding_plan     which faces of a video's track are encoded
    sources           the sources of evidence: networks, tables and raters
    clips             reads and encodes the clips of a data set
    dataset_calibration/  reads the calibration for a data set, or fits it on labelled clips
    build_labeller    builds the labeller of a data set or of videos, by the calibrations of its sources
    clip_anchors      anchors of a clip from itself, from its person, or from other clips
    support_file      the file of support frames of a data set
    dataset           labels the test clips of a data set
    scores            scores estimated labels against true labels
    report            tables and figures of a labelled data set
"""
