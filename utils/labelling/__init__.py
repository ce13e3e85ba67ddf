"""Labels the valence and arousal of all frames of a clip from a few labelled frames.

How labelling flows:

    1. Sources of evidence. `EvidenceSources` (sources) holds all sources in one list: the Siamese network, estimators
       (other networks, and tables of another tool's estimates) and raters. Each has a name and, for a network, a
       checkpoint. `EncodedClip.evidence` has a column for each source, in this order.
    2. Calibration. `Calibration` (calibration) holds the parameters of the Gaussian process and, for each source, how
       far its evidence can be trusted. It is fitted on validation clips, whose true labels are known (calibrate,
       dataset_calibration), and kept in calibration.json beside the checkpoint.
    3. Adaptation. A source without a calibration is uncalibrated. It starts with prior parameters, and
       `Labeller.adapt` fits it to the given labels of the clips to be labelled (adaptation; rater, for ratings). The
       Siamese network is never adapted: uncalibrated, it has default parameters.
    4. Labeller. `Labeller` (labeller) holds the Siamese network and the calibration of all sources; `labellers` builds
       it. It encodes a clip to an `EncodedClip` and labels it from its `Anchors`, the labelled frames.
    5. Posterior. For each axis of a clip, a `GPPosterior` (gp) is the latent label given evidence and labels. The
       evidence may be wrong for this face, so a `MixturePosterior` (mixture) weighs several of them: with all
       evidence, with each source alone, and with none.
    6. Labels. `Labeller.fused_labels` turns the mixtures of both axes into `Labels`: values and 90 % intervals. The
       paper's rules (anchors) need no posterior: label = label of the anchor + predicted difference.

Modules, from low to high; a module imports only modules above it in this list. To follow one clip, read types,
labeller, calibration, mixture, gp and process.

    types         encoded clip, anchors, given labels, estimated labels
    process       the Gaussian process: parameters, covariances, state-space model
    offsets       Gaussian distributions of the offsets of the sources of evidence
    gp            its posterior at the frames of one clip, for one axis
    outliers      rejection of outliers among the given labels
    mixture       several posteriors, weighted by how well they predict the given labels
    calibration   the fitted parameters of the sources of evidence, and calibration.json
    adaptation    fits uncalibrated sources to the given labels
    people        posteriors of all tracks of one person, whose given labels inform each other
    support       strategies: which frames of a clip are labelled
    fit_problems  segments of clips with simulated support frames, to fit a calibration
    likelihood    the likelihood of the true labels in these problems, and its maximum
    fitting       fits a calibration to evidence and true labels
    anchors       rules and baselines: which anchors are used for a frame, and how their estimates are averaged
    rated_parts   what the ratings of a clip are compared with, to fit them
    rater         fits continuous ratings: the lag of each rater, and the parameters of the ratings
    suggest       which frames to label next
    check         which frames to draw to check the estimated labels, and a bound of their error
    audit         given labels that the other given labels of the clip contradict
    label_noise   standard deviation of a person's labels, estimated from the labels
    agreement     agreement of several annotators
    incremental   the posteriors of `mixture`, fast to compute again after each label
    labeller      a network, its runtime and its calibration: labels clips by any rule
    ratings       the raters, with their ratings of the user's own videos
    sources       the sources of evidence: networks, tables and raters
    clips         reads and encodes the clips of a data set
    foreign       fits the constant error of evidence that comes from anchors of other people
    calibrate     fits a calibration on labelled clips
    dataset_calibration  reads the calibration for a data set, or fits it on the validation clips
    labellers     builds the labeller of a data set or of videos, by the calibrations of its sources
    clip_anchors  anchors of a clip from itself, from its person, or from other clips
    dataset       labels the test clips of a data set
    scores        scores estimated labels against true labels
    report        tables and figures of a labelled data set

Glossary:

    axis             valence or arousal, each in [-1, 1].
    frame            one image of a face. Frame numbers come from the data set or video; frame indices count from 0
                     within a clip.
    clip             the frames of one person in a data set, or of one face track in a video, in order of time.
    support frame    a frame of a clip that a person has labelled. All of a clip form its support-set.
    anchor           a labelled frame from which other frames are labelled. Usually the anchors of a clip are its
                     support frames; they can also be frames of the training set or of other people.
    given label      the label of an anchor, given by a person. Its error is a standard deviation; 0 means exact.
    true label       the label that a frame should have. On a data set, the labels in its table count as true.
    estimated label  the label that this package computes for a frame.
    latent label f   the Gaussian process of one axis over time. True labels scatter about it by the nugget, a standard
                     deviation.
    evidence         estimates of the valence and arousal of each frame by one or several sources. That of the Siamese
                     network is relative to the clip: the mean of the predicted differences, frame minus reference
                     frame, over up to 64 frames of the clip. Example: evidence -0.1, 0.0, 0.3 and a given label 0.2 on
                     the second frame suggest 0.1, 0.2 and 0.5. That of EmoNet, of a supervised head or of another tool
                     is absolute, and so is a continuous rating by a person, a rater, after correction for its lag.
    rule             the method that turns anchors into estimated labels: `fused`, which uses the Gaussian process, or
                     one of `anchors.ANCHOR_RULES`.
    source           a source of evidence: the Siamese network, an estimator or a rater.
    baseline         a method to compare with: from labels and time alone (hold, linear), or from a network without
                     labels (zero-shot).
    misread          an axis of a clip is misread if its given labels disagree with the network's evidence, so that the
                     posterior without evidence gets most of the weight.
"""
