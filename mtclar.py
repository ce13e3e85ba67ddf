"""Train and evaluate MT-CLAR, the Siamese network that compares two faces.

    python mtclar.py                                        the demo, by config.yaml
    python mtclar.py --dataset afewva --data.root data/AfewVA --preset paper
    python mtclar.py --dataset affectnet --train.epochs 2 --data.image_size 128
    torchrun --nproc_per_node=4 mtclar.py                   on four GPUs
    python mtclar.py --train.resume runs/mtclar/<run>       go on with an interrupted run

One encoder (EmoNet without its head) turns each face into an embedding. Three heads look at two embeddings and say
whether the expressions are similar, and how much valence and arousal of face 1 lie above those of face 2.
"""

from utils.config import load_settings
from utils.script import run_script
from utils.settings import Settings


def main() -> None:
    settings = load_settings(Settings, "mtclar", "config.yaml", __doc__)

    # PyTorch and what stands on it: seconds to import, so only when there is work.
    from models.mtclar import MTCLAR
    from utils.checkpoint import start_from_emonet
    from utils.data import CropReader, read_splits
    from utils.embed import EmbeddingCache
    from utils.engine import fit
    from utils.fused.calibration import fusion_for_dataset
    from utils.pair_training import TEST, PairTest, PairTraining
    from utils.report import report_pairs
    from utils.run_folder import RunFolder, shared_run
    from utils.runtime import make_runtime, seed_step

    runtime = make_runtime(settings.runtime)
    run = shared_run(lambda: RunFolder.open(settings, "mtclar"))

    # A frame table per split: a row a frame, no person in two of them.
    splits = read_splits(settings)
    crops = CropReader(settings)

    # The Siamese network: encode(images) -> embeddings, compare(a, b) -> similarity, Δvalence, Δarousal.
    seed_step(settings.seed)
    model = MTCLAR(settings.model.width, settings.model.fusion, settings.model.dropout)
    if settings.model.emonet:
        start_from_emonet(model.encoder, settings.model.emonet)
    model = runtime.place(model)

    # Pairs of people never seen in training, drawn once from the seed, and before a day's work: there may be none.
    test = PairTest(splits.test, settings.pairs.test, TEST, crops, settings)

    # Cross-entropy on similarity, cosine-embedding loss on the embeddings, MSE and CCC on both differences.
    task = PairTraining(model, splits, crops, settings, runtime)
    fit(task, run, settings)
    report_pairs(test, model, runtime, run)

    # How far labelling may trust this network, from the clips of the validation people; kept beside best.pt.
    best = run.path / "best.pt"
    cache = EmbeddingCache(run.path / "embeddings", best, runtime)
    fusion_for_dataset(model, splits.validation, crops, cache, best, settings, runtime)


if __name__ == "__main__":
    run_script(main)
