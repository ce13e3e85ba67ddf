"""Measures the backend openvino-int8 against openvino: speed, and difference of the fused labels.

    pip install -r requirements-fast.txt
    python benchmarks/int8.py --checkpoint runs/mtclar/<run>/best.pt
    python benchmarks/int8.py --speed        speed only

Labels are compared on people that the network was not trained on, 24 clips of 300 frames per seed, with an exact label
on every 20th frame. Each clip is encoded as a video: its network is quantised from its own faces, and if it is refused,
the clip is encoded by openvino. Speed is that of the published network (width 256, 256 × 256 pixels) with random
weights.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.label_quality import TestSet, render
from benchmarks.measure import machine, seconds
from benchmarks.own_data import refuse_known_seeds
from benchmarks.throughput import encoder, random_images
from utils.base.errors import DataError
from utils.compute.backends import Backend, Backends
from utils.compute.data import CropReader
from utils.compute.integers import SAMPLE_FACES, TOLERANCE, FaceSample
from utils.compute.loading import batches_of, evaluation_loader
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import DataSettings, RuntimeSettings
from utils.labelling.anchors import FUSED
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.clip_encoder import ClipEncoder
from utils.labelling.clips import ClipReader
from utils.labelling.labeller import Labeller
from utils.labelling.sources import EvidenceSources, SiameseSource
from utils.labelling.support import evenly_spaced
from utils.runs.checkpoint import load_mtclar

BACKENDS = ("openvino", "openvino-int8")
FRAMES = 300  # of a clip
LABEL_STEP = 20


class VideoClips(ClipReader):
    """Reads clips, and encodes each as if it were a video.

    Attributes:
        backends: encode the faces.
        refused: number of clips whose quantised network was refused.
    """

    def __init__(self, encoder: ClipEncoder, crops: CropReader, folder: Path):
        super().__init__(encoder, crops, None, 0)
        self.backends, self.refused = Backends(folder, "weights", encoder.runtime), 0

    def embed(self, tables: list[pd.DataFrame]) -> list[Tensor]:
        embeddings = []
        for table in tables:
            crops = self.crop_reader(table)
            images = torch.cat(list(batches_of(evaluation_loader(crops, len(crops), 0))))
            embeddings.append(self.backend(images, str(table["clip"].iloc[0]))(images))
        return embeddings

    def backend(self, images: Tensor, clip: str) -> Backend:
        """The backend for the faces (N, 3, S, S) of a clip."""
        model, size = self.encoder.model, images.shape[-1]
        assert model
        sampled = torch.from_numpy(evenly_spaced(np.arange(len(images)), SAMPLE_FACES))
        name = self.backends.choose(model, len(images), size, is_video=True)
        try:
            return self.backends.create(name, model, size, FaceSample(clip, lambda: images[sampled]))
        except DataError as error:
            logging.warning("%s: %s", clip, error)
            self.refused += 1
            return self.backends.create("openvino", model, size)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="best.pt of a calibrated mtclar.py run on the demo set")
    parser.add_argument("--speed", action="store_true", help="measure the speed only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[171], help="demo seeds of the normal set")
    parser.add_argument("--hard_seeds", type=int, nargs="+", default=[172], help="of the set of harder scenes")
    parser.add_argument("--folder", type=Path, default=Path("data/int8"), help="for rendered clips")
    arguments = parser.parse_args()
    if not arguments.speed:
        if not arguments.checkpoint:
            parser.error("--checkpoint is missing; without it, only the speed can be measured (--speed)")
        print(compare_labels(arguments).to_string(index=False, float_format="{:.3f}".format), end="\n\n")
    print(f"{machine()}\n{measure_speed().to_string(index=False, float_format='{:.2f}'.format)}")


def compare_labels(arguments: argparse.Namespace) -> pd.DataFrame:
    """A row for each test set and backend."""
    refuse_known_seeds(arguments.checkpoint, [*arguments.seeds, *arguments.hard_seeds])
    model, trained = load_mtclar(arguments.checkpoint)
    crops = CropReader(LabelSettings(data=DataSettings(cache=None, image_size=trained["data"]["image_size"])))
    kinds = [
        TestSet("normal", arguments.seeds, frames=FRAMES),
        TestSet("harder", arguments.hard_seeds, frames=FRAMES, hard=True),
    ]
    rows: list[dict[str, object]] = []
    for kind in kinds:
        frames, expected = render(arguments.folder, kind), None
        for backend in BACKENDS:
            runtime = make_runtime(RuntimeSettings(backend=backend))
            labeller = labeller_for_videos(EvidenceSources(SiameseSource(model, arguments.checkpoint)), runtime)
            with tempfile.TemporaryDirectory() as folder:
                reader = VideoClips(labeller.encoder, crops, Path(folder))
                labels, errors = fused_labels(labeller, reader, frames)
            expected = expected or (labels, errors)
            row = {"set": kind.name, "backend": backend, "clips refused": reader.refused, "RMSE": rms(errors)}
            row |= {"of openvino": rms(errors) / rms(expected[1])}
            rows.append(row | {f"labels within {TOLERANCE}": (np.abs(labels - expected[0]) <= TOLERANCE).mean()})
    return pd.DataFrame(rows)


def rms(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))


def fused_labels(labeller: Labeller, reader: ClipReader, frames: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2) fused labels of the frames that are not given a label, and their errors (M, 2)."""
    labels, errors = [], []
    for clip in reader.read(frames):
        indices = np.arange(0, len(clip.frames), LABEL_STEP)
        estimated = labeller.label(clip.encoded, clip.anchors(indices, clip.labels[indices]), FUSED).values
        labels.append(np.delete(estimated, indices, 0))
        errors.append(np.delete(estimated - clip.labels, indices, 0))
    return np.concatenate(labels), np.concatenate(errors)


def measure_speed() -> pd.DataFrame:
    """Images per second of the published network with random weights, each the fastest of three turns."""
    with tempfile.TemporaryDirectory() as folder:
        encoders = {backend: encoder(backend, folder)[2] for backend in BACKENDS}
        images = random_images(4 * encoders["openvino"].batch)
        durations = {name: float("inf") for name in encoders}
        for _ in range(3):
            for name, encode in encoders.items():
                durations[name] = min(durations[name], seconds(lambda encode=encode: encode(images), 1))
    speeds = {name: len(images) / duration for name, duration in durations.items()}
    rows = [(name, speed, speed / speeds["openvino"]) for name, speed in speeds.items()]
    return pd.DataFrame(rows, columns=["backend", "images per second", "of openvino"])


if __name__ == "__main__":
    main()
