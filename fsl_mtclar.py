"""Label videos for valence and arousal from a few labelled frames, the support-set.

    python fsl_mtclar.py                                    the test clips of the newest mtclar.py run's dataset
    python fsl_mtclar.py --support_set.strategy uniform_k --support_set.amount 3
    python fsl_mtclar.py --video clip.mp4 --labels clip_labels.csv
    python fsl_mtclar.py --video folder_of_videos --overlay
    python fsl_mtclar.py --video clip.mp4 --suggest 5       which frames to label (next: with --labels)
    python fsl_mtclar.py --annotate clip.mp4                label them on a page in the browser

Each frame is encoded once. The network then says how far a frame's valence and arousal lie above those of its anchor,
a labelled frame: label = anchor's label + difference; the rule `fused` draws a trace through all labelled frames, led
by what the network sees in between, and knows how sure it is. On a dataset, every rule is scored beside what time
alone gives: the last label held, and the straight line from label to label.
"""

from utils.config import merge_layers, read_layers
from utils.script import run_script
from utils.settings import LabelSettings
from utils.trained import checkpoint_path, label_settings


def main() -> None:
    layers = read_layers(LabelSettings, "config.yaml", __doc__)
    checkpoint = checkpoint_path(merge_layers(LabelSettings, layers))

    # PyTorch and what stands on it: seconds to import, so only when there is work.
    from utils.checkpoint import load_mtclar
    from utils.runtime import make_runtime

    # Data and crops as the network was trained on them, so that nobody in the test clips is known to it.
    model, trained = load_mtclar(checkpoint)
    settings = label_settings(layers, checkpoint, trained)
    runtime = make_runtime(settings.runtime)
    work = (
        annotate_videos if settings.annotate
        else label_test_clips if not settings.video
        else suggest_frames if settings.suggest
        else label_own_videos
    )  # fmt: skip
    work(runtime.place(model), checkpoint, settings, runtime)


def label_test_clips(model, checkpoint, settings, runtime) -> None:
    """The paper's experiment: a support-set of each clip's own labels, the other frames labelled and scored."""
    from utils.data import CropReader, read_splits
    from utils.embed import EmbeddingCache
    from utils.fused.calibration import fusion_for_dataset
    from utils.label_dataset import label_dataset
    from utils.report import report_labels
    from utils.run_folder import RunFolder, shared_run

    run = shared_run(lambda: RunFolder.create(settings, "fsl_mtclar"))
    splits, crops = read_splits(settings), CropReader(settings)
    cache = EmbeddingCache(checkpoint.parent / "embeddings", checkpoint, runtime)
    fusion = fusion_for_dataset(model, splits.validation, crops, cache, checkpoint, settings, runtime)
    tables, doubts = label_dataset(model, splits, crops, cache, fusion, settings, runtime)
    report_labels(tables, doubts, settings.support_set, run)


def label_own_videos(model, checkpoint, settings, runtime) -> None:
    """Find and follow faces, encode each once, label all frames from those that a person has labelled."""
    from utils.videos.jobs import find_jobs
    from utils.videos.label_video import LabelledVideos

    LabelledVideos(model, checkpoint, settings, runtime).work(find_jobs(settings.video, settings.labels))


def suggest_frames(model, checkpoint, settings, runtime) -> None:
    """Find and follow faces, encode each once, name the frames whose labels would help most."""
    from utils.videos.jobs import find_jobs
    from utils.videos.suggest_video import SuggestedFrames

    jobs = find_jobs(settings.video, settings.labels, needed=False)
    SuggestedFrames(model, checkpoint, settings, runtime).work(jobs)


def annotate_videos(model, checkpoint, settings, runtime) -> None:
    """Find and follow faces, encode each once, and serve a page to label them in."""
    from utils.annotate.project import Project
    from utils.annotate.server import serve

    serve(Project(model, checkpoint, settings, runtime), settings.host, settings.port)


if __name__ == "__main__":
    run_script(main)
