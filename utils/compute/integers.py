"""8-bit integers: quantises a network that was converted for OpenVINO, and compares its estimates with those before.

Three choices keep the estimates nearly the same: only convolutions are quantised; that of the images is not; and the
range of each activation spans all values that occur, where NNCF would clip the largest ones.
"""

import contextlib
import importlib.metadata
import io
from collections.abc import Callable
from typing import Any, NamedTuple

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
"""Part of the keys of quantised networks and their embeddings. Increase it whenever the same faces give another one."""

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
    """Identifies what quantises: the same faces and version give the same network."""
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


def refuse_other_estimates(estimates: Tensor, expected: Tensor) -> None:
    """Compare estimates (N, K) with those that are expected.

    Raises:
        DataError: too few of them lie within the tolerance.
    """
    share = ((estimates - expected).abs() <= TOLERANCE).float().mean().item()
    if share < SMALLEST_SHARE:
        raise DataError(
            f"runtime.backend openvino-int8 would change the estimates: on {len(estimates)} faces of this video, "
            f"{share:.1%} of them are within {TOLERANCE} of those without quantisation, and {SMALLEST_SHARE:.0%} must "
            "be; use runtime.backend auto for this video"
        )
