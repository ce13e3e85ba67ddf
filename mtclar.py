"""Train and evaluate MT-CLAR, the Siamese network that compares two faces.

    python mtclar.py                                        the demo, with the settings in config.yaml
    python mtclar.py --dataset afewva --data.root data/AfewVA --preset paper
    python mtclar.py --dataset affectnet --train.epochs 2 --data.image_size 128
    torchrun --nproc_per_node=4 mtclar.py                   on four GPUs
    python mtclar.py --train.resume runs/mtclar/<run>       resume an interrupted run

One encoder (EmoNet without its head) turns each face into an embedding. Three heads compare two embeddings: they
predict whether the expressions are similar, and the differences in valence and in arousal, face 1 minus face 2.
"""

import logging

from utils.config.mtclar import Settings
from utils.runs.resume import load_settings
from utils.runs.script import run_script

log = logging.getLogger(__name__)


def main() -> None:
    settings = load_settings(Settings, "mtclar", "config.yaml", __doc__)

    # PyTorch takes seconds to import, so it is imported only after the settings have been checked.
    from models.mtclar import MTCLAR
    from utils.compute.data import CropReader, read_splits
    from utils.compute.embedding_cache import EmbeddingCache
    from utils.compute.runtime import make_runtime
    from utils.compute.seeds import seed_step
    from utils.labelling.clips import ClipReader
    from utils.labelling.labeller import Labeller
    from utils.labelling.validation import calibration_for_dataset
    from utils.runs.checkpoint import start_from_emonet
    from utils.runs.run_folder import RunFolder, shared_run
    from utils.training.loop import fit
    from utils.training.pair_evaluation import TEST_SEED_STREAM, PairEvaluator
    from utils.training.pair_training import PairTraining
    from utils.training.report import report_pairs

    runtime = make_runtime(settings.runtime)
    run = shared_run(lambda: RunFolder.open(settings, "mtclar"))

    # Data: a frame table per split, with a row per frame. No person is in two splits. AffectNet does not name
    # its people; there, no image is in two splits.
    splits = read_splits(settings)
    crops = CropReader(settings)

    # Model: encode(images) gives embeddings; compare(a, b) gives similarity, Δvalence and Δarousal.
    seed_step(settings.seed)
    model = MTCLAR(settings.model.width, settings.model.fusion, settings.model.dropout)
    if settings.model.emonet:
        start_from_emonet(model.encoder, settings.model.emonet)
    model = runtime.to_device(model)
    if not model.predicts_differences:
        log.warning(
            "model.fusion %s is symmetric: it can learn similarity, but no differences of valence and arousal, which "
            "labelling needs; concat learns both",
            model.fusion,
        )

    # Test pairs: drawn before training, so that an unusable test split fails at once.
    test_pairs = PairEvaluator(splits.test, settings.pairs.test, TEST_SEED_STREAM, crops, settings)

    # Training: the loss is a weighted sum of four terms: cross-entropy on similarity, a cosine-embedding loss, and for
    # each difference a mix of MSE and 1 - CCC.
    training = PairTraining(model, splits, crops, settings, runtime)
    fit(training, run, settings)

    # Report: scores on the test pairs, with the weights of best.pt, which fit() has loaded into the model.
    report_pairs(test_pairs, model, runtime, run)

    if not model.predicts_differences:
        return

    # Calibration: fsl_mtclar.py combines predicted differences in a Gaussian process over time. If there are enough
    # validation clips, its parameters are fitted on them and saved beside best.pt.
    cache = EmbeddingCache(run.path / "embeddings", run.best, runtime)
    clips = ClipReader(Labeller(model, runtime), crops, cache, settings.data.workers)
    calibration_for_dataset(clips, splits.validation, run.best, settings)


if __name__ == "__main__":
    run_script(main)
