"""Measures an encoder in 8-bit integers against bfloat16: speed, and difference of the fused labels.

    pip install nncf
    python benchmarks/int8.py --checkpoint runs/mtclar/<run>/best.pt
    python benchmarks/int8.py --speed        speed only

The network converted for OpenVINO is quantised after training by NNCF, Intel's compression library, in four variants:

- operations: all, or only the convolutions, so that sums and products of whole feature maps stay in bfloat16;
- ranges of the activations: NNCF's default, the mean of the largest values of the calibration images, or the largest
  value of all of them, so that nothing is clipped.

Labels are compared on people that the network was not trained on, 24 clips of 60 frames per seed, with an exact label
on every 20th frame; the images of calibration are 72 frames of other people. Speed is that of the published network
(width 256, 256 × 256 pixels) with random weights, on which ranges have no influence.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.label_quality import TestSet, render
from benchmarks.measure import machine, seconds
from benchmarks.own_data import refuse_known_seeds
from benchmarks.throughput import IMAGE_SIZE, network, random_images
from models.mtclar import MTCLAR
from utils.base.openvino import import_openvino
from utils.compute.backends import OpenVINO
from utils.compute.data import CropReader
from utils.compute.loading import batches_of, evaluation_loader
from utils.compute.runtime import Runtime, make_runtime
from utils.config.labelling import LabelSettings
from utils.config.sections import DataSettings, RuntimeSettings
from utils.labelling.anchors import FUSED
from utils.labelling.build_labeller import labeller_for_videos
from utils.labelling.clips import ClipReader
from utils.labelling.labeller import Labeller
from utils.labelling.sources import EvidenceSources, SiameseSource
from utils.runs.checkpoint import load_mtclar

LABEL_STEP = 20
TOLERANCE = 0.03  # difference of labels that is counted as none
CALIBRATION_STEP = 20  # every so manyth frame of the calibration clips
FLOAT_OPERATIONS = ["Add", "Multiply", "ReduceSum", "ReduceMean", "Interpolate"]  # if only convolutions are quantised


class Variant(NamedTuple):
    """What is quantised: all operations or only convolutions; and whether large activations are clipped."""

    all_operations: bool
    clipped: bool

    def __str__(self) -> str:
        operations = "all operations" if self.all_operations else "convolutions"
        return f"{operations}, {'default' if self.clipped else 'unclipped'} ranges"


VARIANTS = [Variant(all_operations, clipped) for all_operations in (True, False) for clipped in (True, False)]


class QuantisedClips(ClipReader):
    """Reads clips whose faces a given backend encodes."""

    def __init__(self, labeller: Labeller, crops: CropReader, backend: OpenVINO):
        super().__init__(labeller, crops, None, 0)
        self.backend = backend

    def embed(self, tables: list[pd.DataFrame]) -> list[Tensor]:
        return [torch.cat([self.backend(images) for images in self.images(table)]) for table in tables]

    def images(self, table: pd.DataFrame) -> Iterator[Tensor]:
        """Batches (B, 3, S, S) uint8 of the faces of a frame table."""
        return batches_of(evaluation_loader(self.crops(table), self.backend.batch, 0))


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="best.pt of a calibrated mtclar.py run on the demo set")
    parser.add_argument("--speed", action="store_true", help="measure the speed only")
    parser.add_argument("--calibration_seeds", type=int, nargs="+", default=[121], help="demo seeds for calibration")
    parser.add_argument("--seeds", type=int, nargs="+", default=[171], help="demo seeds of the normal set")
    parser.add_argument("--hard_seeds", type=int, nargs="+", default=[172], help="of the set of harder scenes")
    parser.add_argument("--folder", type=Path, default=Path("data/int8"), help="for rendered clips")
    arguments = parser.parse_args()
    if not arguments.speed:
        if not arguments.checkpoint:
            parser.error("--checkpoint is missing; without it, only the speed can be measured (--speed)")
        print(compare_labels(arguments).to_string(index=False, float_format="{:.3f}".format), end="\n\n")
    print(f"{machine()}\n{measure_speed().to_string(index=False, float_format='{:.2f}'.format)}")


def quantise(source: Path, target: Path, images: Tensor, variant: Variant) -> None:
    """Quantises a converted network.

    Args:
        source: the network, as `OpenVINO` has written it.
        target: file of the quantised network, which `OpenVINO` reads.
        images: (N, 3, S, S) uint8, from which the ranges of the activations are taken.
        variant: what is quantised.
    """
    openvino = import_openvino()
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    converted = openvino.Core().read_model(source)
    converted.reshape([1, *images.shape[1:]])
    advanced: dict[str, Any] = {"disable_bias_correction": True}  # It changes no label by more than rounding does.
    if not variant.clipped:
        advanced["activations_range_estimator_params"] = RangeEstimatorParametersSet.MINMAX
    float_operations = [] if variant.all_operations else FLOAT_OPERATIONS
    quantised = nncf.quantize(
        converted,
        nncf.Dataset(list(images[:, None].numpy())),
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(types=float_operations, validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(**advanced),
    )
    openvino.save_model(quantised, target)


def compare_labels(arguments: argparse.Namespace) -> pd.DataFrame:
    """A row for each test set and variant."""
    refuse_known_seeds(arguments.checkpoint, [*arguments.calibration_seeds, *arguments.seeds, *arguments.hard_seeds])
    runtime = make_runtime(RuntimeSettings())
    model, trained = load_mtclar(arguments.checkpoint)
    labeller = labeller_for_videos(EvidenceSources(SiameseSource(model, arguments.checkpoint)), runtime)
    size = trained["data"]["image_size"]
    crops = CropReader(LabelSettings(data=DataSettings(cache=None, image_size=size)))
    calibration = render(arguments.folder, TestSet("calibration", arguments.calibration_seeds))
    kinds = [TestSet("normal", arguments.seeds), TestSet("harder", arguments.hard_seeds, hard=True)]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        converted = Path(temporary) / "converted.xml"
        bfloat16 = QuantisedClips(labeller, crops, OpenVINO(model, runtime, size, converted))
        images = torch.cat(list(bfloat16.images(calibration[::CALIBRATION_STEP])))
        readers = {"bfloat16": bfloat16}
        for number, variant in enumerate(VARIANTS):
            quantise(converted, target := Path(temporary) / f"{number}.xml", images, variant)
            readers[str(variant)] = QuantisedClips(labeller, crops, OpenVINO(model, runtime, size, target))
        for kind in kinds:
            rows += compare_on_set(readers, kind.name, render(arguments.folder, kind))
    return pd.DataFrame(rows)


def compare_on_set(readers: dict[str, QuantisedClips], name: str, frames: pd.DataFrame) -> list[dict[str, object]]:
    """RMSE of each reader relative to the first one, and how far its labels differ from those of the first."""
    rows: list[dict[str, object]] = []
    for variant, reader in readers.items():
        labels, errors = fused_labels(reader, frames)
        rmse = np.sqrt((errors**2).mean())
        if not rows:
            first_labels, first_rmse = labels, rmse
        within = (np.abs(labels - first_labels) <= TOLERANCE).mean()
        row = {"set": name, "encoder": variant, "RMSE": rmse, "of bfloat16": rmse / first_rmse}
        rows.append(row | {f"labels within {TOLERANCE}": within})
    return rows


def fused_labels(reader: QuantisedClips, frames: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2) fused labels of the frames that are not given a label, and their errors (M, 2)."""
    labels, errors = [], []
    for clip in reader.read(frames):
        indices = np.arange(0, len(clip.frames), LABEL_STEP)
        estimated = reader.labeller.label(clip.encoded, clip.anchors(indices, clip.labels[indices]), FUSED).values
        labels.append(np.delete(estimated, indices, 0))
        errors.append(np.delete(estimated - clip.labels, indices, 0))
    return np.concatenate(labels), np.concatenate(errors)


def measure_speed() -> pd.DataFrame:
    """Images per second of the published network with random weights, each the fastest of three turns."""
    runtime = make_runtime(RuntimeSettings(backend="openvino"))
    with tempfile.TemporaryDirectory() as temporary:
        encoders = published_encoders(network(runtime), runtime, Path(temporary))
        images = random_images(4 * encoders["bfloat16"].batch)
        durations = {name: float("inf") for name in encoders}
        for _ in range(3):
            for name, encode in encoders.items():
                durations[name] = min(durations[name], seconds(lambda encode=encode: encode(images), 1))
    speeds = {name: len(images) / duration for name, duration in durations.items()}
    rows = [(name, speed, speed / speeds["bfloat16"]) for name, speed in speeds.items()]
    return pd.DataFrame(rows, columns=["encoder", "images per second", "of bfloat16"])


def published_encoders(model: MTCLAR, runtime: Runtime, folder: Path) -> dict[str, OpenVINO]:
    """The network in float32, in bfloat16 and quantised."""
    converted = folder / "converted.xml"
    encoders = {"bfloat16": OpenVINO(model, runtime, IMAGE_SIZE, converted)}
    float32 = make_runtime(RuntimeSettings(precision="float32"))
    encoders["float32"] = OpenVINO(model, float32, IMAGE_SIZE, converted)
    for variant in (variant for variant in VARIANTS if not variant.clipped):
        target = folder / f"{variant.all_operations}.xml"
        quantise(converted, target, random_images(4), variant)
        encoders[f"int8, {variant}".partition(", unclipped")[0]] = OpenVINO(model, runtime, IMAGE_SIZE, target)
    return encoders


if __name__ == "__main__":
    main()
