"""Labels the valence and arousal of all frames of a clip from a few labelled frames.

Modules, from low to high; a module imports only modules above it in this list:

    types         encoded clip, anchors, given labels, estimated labels
    process       the Gaussian process: parameters, covariances, state-space model
    offsets       Gaussian distributions of the offsets of the sources of evidence
    gp            its posterior at the frames of one clip, for one axis
    outliers      rejection of outliers among the given labels
    mixture       two posteriors, with and without the evidence, weighted by how well they predict the given labels
    calibration   the fitted parameters of the sources of evidence, and calibration.json
    adaptation    fits sources that are not calibrated to the given labels
    people        posteriors of all tracks of one person, whose given labels inform each other
    support       strategies: which frames of a clip are labelled
    fitting       fits a calibration
    anchors       rules and baselines: which anchors are used for a frame, and how their estimates are averaged
    rater         fits continuous ratings: the lag of each rater, and the parameters of the ratings
    suggest       which frames to label next
    check         which frames to draw to check the estimated labels, and a bound of their error
    audit         given labels that the other given labels of the clip contradict
    label_noise   standard deviation of a person's labels, estimated from the labels
    agreement     agreement of several annotators
    incremental   the posteriors of `mixture`, fast to compute again after each label
    labeller      a network, its runtime and its calibration: labels clips by any rule
    ratings       the raters, with their ratings of the user's own videos
    sources       the sources of evidence: networks and tables
    clips         reads and encodes the clips of a data set
    foreign       fits the constant error of evidence that comes from anchors of other people
    validation    calibrates a network on the validation clips of a data set
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
    baseline         a method to compare with: from labels and time alone (hold, linear), or from a network without
                     labels (zero-shot).
    calibration      the parameters of the process and of the intervals, fitted to one network on validation clips.
    misread          an axis of a clip is misread if its given labels disagree with the network's evidence, so that the
                     posterior without evidence gets most of the weight.
"""
