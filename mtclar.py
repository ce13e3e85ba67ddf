"""Train and evaluate MT-CLAR, the Siamese network of arXiv 2308.02173 that compares two faces.

    python mtclar.py                                        the built-in set of rendered faces, "demo"
    python mtclar.py --dataset afewva --data.root data/AfewVA --preset paper
    python mtclar.py --dataset affectnet --train.epochs 2 --data.image_size 128
    torchrun --nproc_per_node=4 mtclar.py                   on four GPUs
    python mtclar.py --train.resume runs/mtclar/<run>       resume an interrupted run
    python mtclar.py --preset finetune --dataset videos --data.root my_videos --model.init runs/mtclar/<run>/best.pt
    python mtclar.py --export runs/mtclar/<run>             export its network, to share it

One encoder (EmoNet without its head) turns each face into an embedding. Three heads compare two embeddings: they
predict whether the expressions are similar (by default: valence and arousal at most 0.2 apart, `pairs.similar_by`), and
the differences in valence and in arousal, face 1 minus face 2.
Settings: config.yaml.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config.mtclar import MtclarSettings
from utils.runs.resume import load_settings
from utils.runs.script import run_script

if TYPE_CHECKING:  # PyTorch takes seconds to import, so it is imported only after the settings have been checked.
    import pandas as pd

    from models.mtclar import MTCLAR
    from utils.compute.data import CropReader
    from utils.compute.runtime import Runtime
    from utils.runs.run_folder import RunFolder

log = logging.getLogger(__name__)

SYMMETRIC_FUSION = (
    "model.fusion %s is symmetric: it can learn similarity, but no differences of valence and arousal, which labelling "
    "needs; concat learns both"
)


def main() -> None:
    settings = load_settings(MtclarSettings, "mtclar", "config.yaml", __doc__)
    if settings.export:
        export_network(settings.export)
    else:
        train_and_evaluate(settings)


def train_and_evaluate(settings: MtclarSettings) -> None:
    """Train the network on pairs of training images, test it on pairs of test images, and calibrate `fused`."""
    from datasets.splits import describe_splits
    from utils.compute.data import CropReader, read_splits
    from utils.compute.runtime import make_runtime
    from utils.compute.seeds import TEST_SEED_STREAM
    from utils.runs.run_folder import RunFolder, shared_run
    from utils.runs.trained import refuse_trained_people
    from utils.training.loop import fit
    from utils.training.pair_evaluation import PairEvaluator
    from utils.training.pair_training import PairTraining
    from utils.training.report import report_pairs

    runtime = make_runtime(settings.runtime)
    model, earlier_trainings = initial_network(settings, runtime)
    run = shared_run(lambda: RunFolder.open(settings, "mtclar"))

    # Data: a frame table per split, with a row per frame. No subject occurs in two splits; AffectNet does not name
    # the people, so each of its images counts as a subject.
    splits = read_splits(settings, runtime.device)
    run.save_json("splits.json", describe_splits(splits))
    if settings.model.init:
        refuse_trained_people(settings, splits.test, earlier_trainings, settings.model.init)
    crop_reader = CropReader(settings)

    # Test pairs: drawn before training, so that the script stops before training if the test set is unusable.
    test_evaluator = PairEvaluator(splits.test, settings.pairs.test, TEST_SEED_STREAM, crop_reader, settings)

    # Training: the loss is the weighted mean of four terms: cross-entropy on similarity, the cosine-embedding loss,
    # and w·MSE + (1 - w)·(1 - CCC) for Δvalence and for Δarousal. fit() ends with the weights of best.pt in `model`.
    training = PairTraining(model, splits, crop_reader, settings, runtime, earlier_trainings)
    fit(training, run, settings)

    # Report: scores on pairs of test images, whose subjects are in neither the training nor the validation set.
    report_pairs(test_evaluator, model, runtime, run)

    if model.predicts_differences:
        calibrate_fused_labels(model, run, splits.validation, crop_reader, settings, runtime)


def initial_network(settings: MtclarSettings, runtime: "Runtime") -> "tuple[MTCLAR, list[dict[str, Any]]]":
    """Create the network: random, or with the weights of published EmoNet or of an earlier training.

    encode(images) gives embeddings; compare(a, b) gives similarity, Δvalence and Δarousal.

    Returns:
        The network on the runtime's device, and the earlier trainings that its weights come from.
    """
    from models.mtclar import MTCLAR
    from utils.compute.seeds import seed_torch
    from utils.runs.checkpoint import start_from_emonet, start_from_mtclar
    from utils.runs.trained import refuse_other_splits

    seed_torch(settings.seed)
    model = MTCLAR(settings.model.width, settings.model.fusion, settings.model.dropout)
    earlier_trainings: list[dict[str, Any]] = []
    if settings.model.emonet:
        start_from_emonet(model.encoder, settings.model.emonet)
    if settings.model.init:
        earlier_trainings = start_from_mtclar(model, settings.model.init, settings.data.image_size)
        refuse_other_splits(settings, earlier_trainings, settings.model.init)
    if not model.predicts_differences:
        log.warning(SYMMETRIC_FUSION, model.fusion)
    return runtime.to_device(model), earlier_trainings


def calibrate_fused_labels(
    model: "MTCLAR",
    run: "RunFolder",
    validation: "pd.DataFrame",
    crop_reader: "CropReader",
    settings: MtclarSettings,
    runtime: "Runtime",
) -> None:
    """Fit how far fsl_mtclar.py can trust the predicted differences, and write calibration.json beside best.pt.

    By the rule `fused`, fsl_mtclar.py combines the differences in a Gaussian process over time. Its parameters are
    fitted on the validation clips of at least 24 frames, 4 of them labelled. With fewer than six such clips, a
    fine-tuned network keeps the calibration of the network that it started from.
    """
    from utils.compute.embedding_cache import EmbeddingCache
    from utils.labelling.clip_encoder import ClipEncoder
    from utils.labelling.clips import ClipReader
    from utils.labelling.dataset_calibration.read_or_fit import calibration_for_dataset

    cache = EmbeddingCache(run.path / "embeddings", run.best, runtime)
    reader = ClipReader(ClipEncoder(model, runtime), crop_reader, cache, settings.data.workers)
    calibration_for_dataset(reader, validation, run.best, settings, settings.model.init)


def export_network(run: Path) -> None:
    """Export the network of a run, with its calibration if there is one."""
    from utils.labelling.calibration.file import calibration_content, read_calibration
    from utils.training.export import export_run

    calibration = read_calibration(run / "best.pt")
    print(f"exported to {export_run(run, calibration and calibration_content(calibration))}")


if __name__ == "__main__":
    run_script(main)
