"""Label videos for valence and arousal from a few frames that a person has labelled, the support-set of each clip.

    python fsl_mtclar.py                                    label test clips, with the newest trained network
    python fsl_mtclar.py --support_set.strategy uniform_k --support_set.amount 3
    python fsl_mtclar.py --video clip.mp4 --labels clip_labels.csv
    python fsl_mtclar.py --video folder_of_videos --overlay
    python fsl_mtclar.py --video clip.mp4 --suggest 5       list 5 frames to label next (with --labels: besides those)
    python fsl_mtclar.py --annotate clip.mp4                label frames on a page in the browser
    python fsl_mtclar.py --calibrate folder_of_videos       fit the intervals to your own labelled videos

Each frame is encoded once. The network then predicts how much a frame differs in valence and arousal from an anchor,
which is a labelled frame: label = label of the anchor + predicted difference. The rule `fused` combines all anchors in
a Gaussian process over time, which follows the network's predictions between the anchors, and gives 90 % intervals. On
a data set, every rule is scored beside two baselines that use time alone: the last label held, and linear
interpolation. By default, data set and split are those of the training run.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.base.errors import CheckpointError
from utils.config.command_line import read_layers
from utils.config.labelling import LabelSettings
from utils.config.layers import merge_layers
from utils.runs.script import run_script
from utils.runs.trained import (
    checkpoint_path,
    label_settings,
    log_network,
    refuse_seen_people,
    refuse_trained_folder,
)
from utils.runs.trainings import trainings_of

if TYPE_CHECKING:
    from models.mtclar import MTCLAR
    from utils.compute.runtime import Runtime


def main() -> None:
    layers = read_layers(LabelSettings, "config.yaml", __doc__)

    # The settings are merged twice. The checkpoint holds the data settings of the training run, which take part in the
    # final merge (`label_settings`), so a first merge has to find the checkpoint.
    checkpoint = checkpoint_path(merge_layers(LabelSettings, layers))

    # PyTorch takes seconds to import, so it is imported only after the first merge, which finds most wrong settings.
    from utils.compute.runtime import make_runtime
    from utils.runs.checkpoint import load_mtclar

    log_network(checkpoint, "mtclar")

    model, trained = load_mtclar(checkpoint)
    if not model.predicts_differences:
        raise CheckpointError(
            f"{checkpoint}: model.fusion {model.fusion} is symmetric, so this network cannot predict differences of "
            "valence and arousal, and no rule can label with it; train one with model.fusion concat"
        )

    # By default the data set and the split are those of the training run. A split that would put people of the
    # training set into the test set is refused.
    settings = label_settings(layers, checkpoint, trained)
    runtime = make_runtime(settings.runtime)
    model = runtime.to_device(model)

    if settings.annotate:
        annotate_videos(model, checkpoint, settings, runtime)
    elif settings.calibrate:
        calibrate_on_own_videos(settings.calibrate, model, trained, checkpoint, settings, runtime)
    elif settings.video:
        label_own_videos(settings.video, model, checkpoint, settings, runtime)
    else:
        label_test_clips(model, trained, checkpoint, settings, runtime)


def label_test_clips(
    model: "MTCLAR", trained: dict[str, Any], checkpoint: Path, settings: LabelSettings, runtime: "Runtime"
) -> None:
    """Estimates labels of the test clips from a few true ones and scores the result, as in the paper's experiment."""
    from utils.compute.data import CropReader, read_splits
    from utils.compute.embedding_cache import EmbeddingCache
    from utils.labelling.clips import ClipReader
    from utils.labelling.dataset import label_dataset
    from utils.labelling.labeller import Labeller
    from utils.labelling.report import report_labels
    from utils.labelling.validation import calibration_for_dataset
    from utils.runs.run_folder import RunFolder, shared_run

    run = shared_run(lambda: RunFolder.create(settings, "fsl_mtclar"))
    splits = read_splits(settings)
    refuse_seen_people(settings, splits.test, trainings_of(trained), checkpoint)
    labeller = Labeller(model, runtime)
    cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
    clips = ClipReader(labeller, CropReader(settings), cache, settings.data.workers)

    # The calibration says how far the rule `fused` can trust the network. It is fitted on validation clips, because
    # predictions for people of the training set would look too accurate.
    labeller.calibration = calibration_for_dataset(clips, splits.validation, checkpoint, settings)

    # Contradictions are support labels that the other support labels of the clip contradict.
    tables, contradictions = label_dataset(clips, splits, settings)
    report_labels(tables, contradictions, settings.support_set, run)


def calibrate_on_own_videos(
    folder: Path,
    model: "MTCLAR",
    trained: dict[str, Any],
    checkpoint: Path,
    settings: LabelSettings,
    runtime: "Runtime",
) -> None:
    """Fits the calibration on the user's own labelled videos, of people that the network was not trained on."""
    from utils.compute.data import CropReader, read_videos
    from utils.compute.embedding_cache import EmbeddingCache
    from utils.labelling.clips import ClipReader
    from utils.labelling.labeller import Labeller
    from utils.labelling.report import report_calibration
    from utils.labelling.validation import calibrate_on_videos

    refuse_trained_folder(folder, trainings_of(trained), checkpoint)
    frames = read_videos(folder, settings.data)
    cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
    clips = ClipReader(Labeller(model, runtime), CropReader(settings), cache, settings.data.workers)
    report_calibration(calibrate_on_videos(clips, frames, checkpoint, folder), checkpoint)


def label_own_videos(
    video: Path, model: "MTCLAR", checkpoint: Path, settings: LabelSettings, runtime: "Runtime"
) -> None:
    """Finds and tracks faces and encodes each face image once. Then labels all frames of each face.

    With --suggest it only lists frames to label next.
    """
    from datasets.video.jobs import find_jobs
    from utils.videos.label_video import LabellingRunner
    from utils.videos.suggest_video import SuggestionRunner

    jobs = find_jobs(video, settings.labels, labels_required=not settings.suggest)
    runner = SuggestionRunner if settings.suggest else LabellingRunner
    runner(model, checkpoint, settings, runtime).run(jobs)


def annotate_videos(model: "MTCLAR", checkpoint: Path, settings: LabelSettings, runtime: "Runtime") -> None:
    """Finds and tracks faces, encodes each face image once, and serves the annotation page."""
    from utils.annotate.project import Project
    from utils.annotate.server import serve

    serve(Project(model, checkpoint, settings, runtime), settings.host, settings.port)


if __name__ == "__main__":
    run_script(main)
