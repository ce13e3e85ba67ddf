"""Label videos for valence and arousal from a few frames that a person has labelled, the support-set of each clip.

    python fsl_mtclar.py                                    label test clips, with the newest trained network
    python fsl_mtclar.py --video clip.mp4 --labels clip_labels.csv
    python fsl_mtclar.py --video clip.mp4 --suggest 5       list 5 frames to label next (with --labels: besides those)
    python fsl_mtclar.py --video folder_of_videos --check 60         draw frames whose labels bound the error
    python fsl_mtclar.py --annotate clip.mp4                label frames on a page in the browser
    python fsl_mtclar.py --video clip.mp4 --evidence data/emonet/emonet_8.pth       without a trained MT-CLAR
    python fsl_mtclar.py --video clip.mp4 --ratings clip_anna.csv,clip_ben.csv      labels from continuous ratings

Each frame is encoded once. By the paper's rule, `previous`, and its variants, the network predicts how much a frame
differs in valence and arousal from an anchor, which is a labelled frame: label = label of the anchor + predicted
difference. By the rule `fused`, the default, it predicts how much a frame differs from other frames of its clip, and a
Gaussian process over time combines these differences, or other evidence, with the given labels; it also gives 90 %
intervals. On a data set, every rule is scored beside two baselines that use labels and time alone: the last label held,
and linear interpolation. By default, data set and split are those of the training run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config.command_line import read_layers
from utils.config.labelling import MTCLAR_EVIDENCE, LabelSettings
from utils.config.layers import Layer, merge_layers
from utils.runs.script import run_script
from utils.runs.trained import checkpoint_path, label_settings, refuse_trained_folder

if TYPE_CHECKING:  # PyTorch takes seconds to import, which --help and wrong settings must not wait for.
    from utils.compute.runtime import Runtime
    from utils.labelling.sources import EvidenceSources, SiameseSource


def main() -> None:
    siamese, settings = find_network_and_settings(read_layers(LabelSettings, "config.yaml", __doc__))

    # The sources of evidence are what the rule `fused` follows between labelled frames: the Siamese network, networks
    # and tables with estimates of each frame, and raters.
    from utils.compute.runtime import make_runtime
    from utils.labelling.sources import load_sources

    runtime = make_runtime(settings.runtime)
    sources = load_sources(siamese, settings, runtime)

    if settings.annotate:
        annotate_videos(sources, settings, runtime)
    elif settings.calibrate:
        calibrate_on_own_videos(settings.calibrate, sources, settings, runtime)
    elif settings.video:
        label_own_videos(settings.video, sources, settings, runtime)
    else:
        label_test_clips(sources, settings, runtime)


def find_network_and_settings(layers: Sequence[Layer]) -> "tuple[SiameseSource | None, LabelSettings]":
    """Load the Siamese network, if the settings use it, and merge the settings.

    By default, data set and split are those that the network was trained with. The settings therefore depend on the
    checkpoint, and which checkpoint depends on the settings. So they are merged twice: without the settings in the
    checkpoint, to find it, and then with them. A split that would put people of the training set into the test set is
    refused. Without the Siamese network, data and split are by default those that the first supervised head in
    `evidence` was trained with.

    Args:
        layers: the settings of the YAML file and the command line, as `read_layers` returns them.
    """
    settings = merge_layers(LabelSettings, layers)
    checkpoint = checkpoint_path(settings) if MTCLAR_EVIDENCE in settings.evidence else None

    from utils.labelling.sources import find_head, load_siamese

    siamese = load_siamese(checkpoint) if checkpoint else None
    trained = (siamese.checkpoint, siamese.settings) if siamese else find_head(settings.evidence_files)
    if trained:
        settings = label_settings(layers, *trained)
    return siamese, settings.model_copy(update={"checkpoint": checkpoint})


def label_test_clips(sources: "EvidenceSources", settings: LabelSettings, runtime: "Runtime") -> None:
    """Estimate labels of the test clips from a few true ones and score the result, as in the paper's experiment."""
    from utils.compute.data import read_splits
    from utils.labelling.build_labeller import labeller_for_dataset
    from utils.labelling.clips import ClipReader
    from utils.labelling.dataset import dataset_inputs, label_dataset
    from utils.labelling.report import report_labels
    from utils.runs.manifest import check_inputs, finish_run, open_run
    from utils.runs.run_folder import shared_run

    splits = read_splits(settings, runtime.device)
    sources.refuse_trained_people(settings, splits.test)

    # The reader encodes clips. The labeller holds the calibration, which says how far the rule `fused` can trust each
    # source of evidence. It is fitted on validation clips, because predictions for people of the training set would
    # look too accurate. A source without a calibration is fitted to the given labels of the test clips; a Siamese
    # network without one has default parameters.
    # utils/labelling/__init__.py describes the whole way from the sources to the labels.
    reader = ClipReader.of_sources(sources, runtime, settings)
    labeller = labeller_for_dataset(reader, sources, splits.validation, settings)

    # The manifest records what the labels depend on. With --from_manifest, inputs that have changed are refused.
    inputs = dataset_inputs(splits, sources, labeller.calibration, settings)
    check_inputs(settings, inputs)
    run = shared_run(lambda: open_run(settings, "fsl_mtclar", inputs))

    labels = label_dataset(reader, labeller, splits, settings, sources.names)
    report_labels(labels, settings.support_set, run)
    finish_run(settings, run, reader.backends_used)


def calibrate_on_own_videos(
    folder: Path, sources: "EvidenceSources", settings: LabelSettings, runtime: "Runtime"
) -> None:
    """Fit the calibration on the user's own labelled videos, of people that the network was not trained on."""
    from utils.compute.data import read_videos
    from utils.labelling.clips import ClipReader
    from utils.labelling.dataset_calibration.calibrate_clips import calibrate_on_videos
    from utils.labelling.report import report_calibration

    network = sources.only_network()
    refuse_trained_folder(folder, network.trainings, network.checkpoint)
    frames = read_videos(folder, settings.data, runtime.device)
    reader = ClipReader.of_sources(sources, runtime, settings)
    report_calibration(calibrate_on_videos(reader, frames, network.checkpoint, folder), network.checkpoint)


def label_own_videos(video: Path, sources: "EvidenceSources", settings: LabelSettings, runtime: "Runtime") -> None:
    """Find and track faces and encode each face image once. Then label all frames of each face.

    With --suggest it only lists frames to label next. With --check it only bounds the error of the labels.
    """
    from datasets.video.jobs import find_jobs
    from utils.videos.check_video import CheckDrawRunner, CheckRunner
    from utils.videos.label_video import LabellingRunner
    from utils.videos.suggest_archive import ArchiveSuggestionRunner
    from utils.videos.suggest_video import SuggestionRunner

    # Suggestions need no labels; ratings, or labels of the same person in other videos, can replace them.
    jobs = find_jobs(
        video, settings.labels, labels_required=not (settings.suggest or settings.ratings or settings.people)
    )
    runner: type[LabellingRunner | SuggestionRunner] = LabellingRunner
    if settings.suggest:
        runner = ArchiveSuggestionRunner if len(jobs) > 1 or settings.people else SuggestionRunner
    if settings.check:
        runner = CheckDrawRunner if settings.check_count else CheckRunner
    runner(sources, settings, runtime).run(jobs)


def annotate_videos(sources: "EvidenceSources", settings: LabelSettings, runtime: "Runtime") -> None:
    """Find and track faces, encode each face image once, and serve the annotation page."""
    from utils.annotate.project import Project
    from utils.annotate.server import serve

    serve(Project(sources, settings, runtime), settings.host, settings.port)


if __name__ == "__main__":
    run_script(main)
