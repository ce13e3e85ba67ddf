"""Labels the valence and arousal of all frames of a clip from a few labelled frames.

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
    misread          an axis of a clip is misread if its given labels disagree with the evidence, so that the
                     posterior without evidence gets most of the weight.
    offset           error of the evidence that is constant within a clip.
    explanation      one way to explain the given labels of a clip: by all evidence, by one source alone, or by time
                     alone, without evidence. A mixture weighs them.
    foreign          anchors of other people, or evidence that is computed with them.

How labelling flows:

    1. Sources of evidence. `EvidenceSources` (sources) holds all sources in one list: the Siamese network, estimators
       (other networks, and tables of another tool's estimates) and raters. Each has a name and, for a network, a
       checkpoint. `EncodedClip.evidence` has a column for each source, in this order.
    2. Calibration. `Calibration` (calibration) holds the parameters of the Gaussian process and, for each source, how
       far its evidence can be trusted. It is fitted on validation clips, whose true labels are known
       (clip_calibration), and kept in calibration.json beside the checkpoint.
    3. Adaptation. A source without a calibration is uncalibrated. It starts with prior parameters, and
       `Labeller.adapt` fits it to the given labels of the clips to be labelled (calibration.adaptation; raters, for
       ratings). The Siamese network is never adapted: uncalibrated, it has default parameters.
    4. Labeller. `Labeller` (labeller) holds the Siamese network and the calibration of all sources; `build_labeller`
       builds it. It encodes a clip to an `EncodedClip` and labels it from its `Anchors`, the labelled frames.
    5. Posterior. For each axis of a clip, a `GPPosterior` (posterior.gp) is the latent label given evidence and labels.
       The evidence may be wrong for this face, so a `MixturePosterior` (posterior.mixture) weighs several of them: with
       all evidence, with each source alone, and with none.
    6. Labels. `Labeller.fused_labels` turns the mixtures of both axes into `Labels`: values and 90 % intervals. The
       paper's rules (anchors) need no posterior: label = label of the anchor + predicted difference.

Modules and packages, from low to high; each imports only those above it in this list. A first reading needs types,
anchors, labeller, build_labeller and dataset; the Gaussian process is in posterior and calibration.calibration.

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
    labeller          a network, its runtime and its calibration: labels clips by any rule
    encoding_plan     which faces of a video's track are encoded
    sources           the sources of evidence: networks, tables and raters
    clips             reads and encodes the clips of a data set
    clip_calibration/ calibrates the evidence of a labeller on the labelled clips of a data set
    build_labeller    builds the labeller of a data set or of videos, by the calibrations of its sources
    clip_anchors      anchors of a clip from itself, from its person, or from other clips
    dataset           labels the test clips of a data set
    scores            scores estimated labels against true labels
    report            tables and figures of a labelled data set
"""
