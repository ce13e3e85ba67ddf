"""MT-CLAR + SL (supervised learning): train a small head on frozen MT-CLAR features, or predict videos with one.

    python mtclar_sl.py                                     valence and arousal on the rendered demo set
    python mtclar_sl.py --task expression
    python mtclar_sl.py --dataset afewva --data.root data/AfewVA --data.fold 0 --preset paper
    python mtclar_sl.py --emonet data/emonet/emonet_8.pth   with published EmoNet as the encoder
    python mtclar_sl.py --predict clip.mp4 --checkpoint runs/mtclar_sl/<run>/fold_0/best.pt

A frozen encoder turns each face image into an embedding of 256 numbers. It is that of a mtclar.py run, of an exported
or published Siamese network, or of published EmoNet. A small network, the head, learns to predict valence and arousal,
or one of eight expressions, from the embeddings alone. The head is tested by five-fold cross-validation over people;
AffectNet has a single split instead. The head's mean scores over the folds are compared with those of a constant
prediction and of a linear model. Settings: mtclar_sl_config.yaml.
"""

from pathlib import Path

from utils.config.supervised import SLSettings
from utils.runs.resume import load_settings
from utils.runs.script import run_script
from utils.runs.trained import with_checkpoint


def main() -> None:
    settings = load_settings(SLSettings, "mtclar_sl", "mtclar_sl_config.yaml", __doc__, fill_defaults=with_checkpoint)
    if settings.predict:
        predict_videos(settings.predict, settings)
    else:
        train_and_test(settings)


def train_and_test(settings: SLSettings) -> None:
    """Train and test a head in each fold, and report the scores of all folds together."""
    # PyTorch takes seconds to import, so it is imported only after the settings have been checked.
    from utils.compute.runtime import make_runtime
    from utils.runs.run_folder import RunFolder, shared_run
    from utils.supervised.folds import prepare_folds, run_fold
    from utils.supervised.report import report_supervised

    # All folds are prepared first, so that invalid data or encoders are found before a run folder is created.
    runtime = make_runtime(settings.runtime)
    folds = prepare_folds(settings, runtime.device)
    run = shared_run(lambda: RunFolder.open(settings, "mtclar_sl"))

    tables = []
    for fold in folds:
        folder = run.subfolder(f"fold_{fold.settings.data.fold}") if len(folds) > 1 else run
        tables.append(run_fold(fold, folder, runtime))
    report_supervised(tables, settings, (fold.encoder.path for fold in folds), run)


def predict_videos(videos: Path, settings: SLSettings) -> None:
    """Find and track the faces in a video or a folder of videos, encode each once, and write predictions."""
    from datasets.video.jobs import find_jobs
    from utils.compute.runtime import make_runtime
    from utils.videos.predict_video import PredictionRunner

    jobs = find_jobs(videos, None, labels_required=False)
    PredictionRunner(settings, make_runtime(settings.runtime)).run(jobs)


if __name__ == "__main__":
    run_script(main)
