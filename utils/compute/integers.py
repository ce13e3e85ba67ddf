"""8-bit integers: quantises a network that was converted for OpenVINO, and compares its estimates with those before.

Three choices keep the estimates nearly the same: only convolutions are quantised; that of the images is not; and the
range of each activation spans all values that occur, where NNCF would clip the largest ones.
"""

import contextlib
import importlib.metadata
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field
from torch import Tensor

from utils.base.errors import DataError
from utils.base.openvino import import_nncf

SAMPLE_FACES = 144
"""Faces of a video from which its network is quantised: half of them give the ranges, the other half are compared."""
TOLERANCE = 0.03
"""Difference of an estimate that is counted as none."""
SMALLEST_SHARE = 0.99
"""Share of estimates that must lie within the tolerance."""

QUANTISATION_VERSION = 1
"""Part of the keys of quantised networks, their embeddings and refusals. Increase it whenever the same faces give
another network, or the check another result."""

FLOAT_OPERATIONS = ["Add", "Multiply", "ReduceSum", "ReduceMean", "Interpolate", "MatMul"]
"""Operations that are not quantised, as OpenVINO names them."""


class FaceSample(NamedTuple):
    """Faces of a video, evenly spaced.

    Attributes:
        key: identifies the faces.
        read: returns their crops (SAMPLE_FACES, 3, S, S) uint8; reads the video.
    """

    key: str
    read: Callable[[], Tensor]


def quantiser_version() -> str:
    """Version of the quantiser: the same faces and version give the same network."""
    return f"{importlib.metadata.version('nncf')} {QUANTISATION_VERSION}"


def quantise(network: Any, crops: Tensor) -> Any:
    """Quantise the convolutions of a network, after training, except that of the images.

    Args:
        network: OpenVINO model with uint8 input; its batch size is set to 1.
        crops: (N, 3, S, S) uint8, from which the ranges of the activations are taken.

    Returns:
        The quantised OpenVINO model, of batch size 1.
    """
    nncf = import_nncf()
    network.reshape([1, *crops.shape[1:]])
    image_convolutions = [
        operation.get_friendly_name()
        for operation in network.get_ops()
        if operation.get_type_name() == "Convolution" and operation.input_value(1).get_shape()[1] == crops.shape[1]
    ]
    unclipped = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF prints a progress bar.
        return nncf.quantize(
            network,
            nncf.Dataset(list(crops[:, None].numpy())),
            subset_size=len(crops),
            ignored_scope=nncf.IgnoredScope(names=image_convolutions, types=FLOAT_OPERATIONS, validate=False),
            # Bias correction takes long, and did not change the labels.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=unclipped, disable_bias_correction=True
            ),
        )


class QuantisationCheck(BaseModel):
    """Compares estimates with and without quantisation, on faces that the ranges were not taken from.

    Attributes:
        faces: number of faces.
        share: share of their estimates that are within the tolerance.
    """

    faces: int = Field(ge=1)
    share: float = Field(ge=0, le=1)

    @classmethod
    def compare(cls, estimates: Tensor, expected: Tensor) -> "QuantisationCheck":
        """Compare estimates (N, K) of N faces with those without quantisation."""
        share = ((estimates - expected).abs() <= TOLERANCE).float().mean().item()
        return cls(faces=len(estimates), share=share)

    @property
    def is_refused(self) -> bool:
        """Whether quantisation would change the estimates."""
        return self.share < SMALLEST_SHARE

    def error(self) -> DataError:
        """The error to raise if the quantised network is refused."""
        return DataError(
            f"runtime.backend openvino-int8 would change the estimates: on {self.faces} faces of this video, "
            f"{self.share:.1%} of them are within {TOLERANCE} of those without quantisation, and {SMALLEST_SHARE:.0%} "
            "must be; use runtime.backend auto for this video"
        )


def read_refusal(path: Path) -> QuantisationCheck | None:
    """Read the check by which an earlier run refused a video; None if there is none, or the file is damaged."""
    try:
        check = QuantisationCheck.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return check if check.is_refused else None
