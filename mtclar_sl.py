"""MT-CLAR + SL: absolute valence and arousal, or expressions, from a small head on frozen features.

    python mtclar_sl.py                                     the demo, by mtclar_sl_config.yaml; all five folds
    python mtclar_sl.py --task expression
    python mtclar_sl.py --dataset afewva --data.root data/AfewVA --data.fold 0 --preset paper
    python mtclar_sl.py --emonet data/emonet/emonet_8.pth   features of published EmoNet instead of a mtclar.py run
    python mtclar_sl.py --predict clip.mp4 --checkpoint runs/mtclar_sl/<run>/best.pt

The encoder of a mtclar.py run turns each face into an embedding, once. A head of five layers learns labels from the
embeddings of the training people, and is scored on people never seen beside a linear regression on the same.
"""

from utils.config import load_settings
from utils.script import run_script
from utils.supervised.settings import PredictSettings
from utils.trained import with_checkpoint


def main() -> None:
    settings = load_settings(PredictSettings, "mtclar_sl", "mtclar_sl_config.yaml", __doc__, complete=with_checkpoint)
    work = predict_videos if settings.predict else train_and_test
    work(settings)


def train_and_test(settings: PredictSettings) -> None:
    """A head for each fold; all of them scored together."""
    # PyTorch and what stands on it: seconds to import, so only when there is work.
    from utils.run_folder import RunFolder, shared_run
    from utils.runtime import make_runtime
    from utils.supervised.folds import prepare_fold, run_fold
    from utils.supervised.report import report_supervised

    # All that can be wrong with data and encoders shows before a run folder is made.
    runtime = make_runtime(settings.runtime)
    folds = [prepare_fold(fold) for fold in settings.folds()]
    run = shared_run(lambda: RunFolder.open(settings, "mtclar_sl"))

    tables = []
    for fold in folds:
        place = run.part(f"fold_{fold.settings.data.fold}") if len(folds) > 1 else run
        tables.append(run_fold(fold, place, runtime))
    report_supervised(tables, settings, (fold.encoder.path for fold in folds), run)


def predict_videos(settings: PredictSettings) -> None:
    """Find and follow faces, encode each once, and write what the head says of every frame."""
    from utils.runtime import make_runtime
    from utils.videos.jobs import find_jobs
    from utils.videos.predict_video import PredictedVideos

    jobs = find_jobs(settings.predict, None, needed=False)
    PredictedVideos(settings, make_runtime(settings.runtime)).work(jobs)


if __name__ == "__main__":
    run_script(main)
