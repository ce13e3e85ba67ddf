"""The face detection network CenterFace in PyTorch, for GPUs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from datasets.video.centerface import HEAT_MAP, LOG_SIZE, OFFSET, Maps


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any) -> Tensor:
    return F.conv2d(x, weight, bias, options["strides"], options["pads"][:2], groups=options["group"])


def _convolve_transposed(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
    return F.conv_transpose2d(x, weight, None, options["strides"], options["pads"][:2], groups=options["group"])


def _normalise(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, **options: Any) -> Tensor:
    return F.batch_norm(x, mean, variance, weight, bias, eps=options["epsilon"])


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "Conv": _convolve,
    "ConvTranspose": _convolve_transposed,
    "BatchNormalization": _normalise,
    "Add": torch.add,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
}
"""The ONNX operations of the network."""


class TorchCenterFace:
    """The network, run by PyTorch on all images at once.

    Args:
        path: the network's ONNX file.
        device: where to run it.
    """

    def __init__(self, path: str, device: torch.device):
        graph = onnx.load(path).graph
        self.weights = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(device)
            for tensor in graph.initializer
        }
        self.input, self.device = graph.input[0].name, device
        last_use = {name: number for number, node in enumerate(graph.node) for name in node.input}
        self.steps = []
        for number, node in enumerate(graph.node):
            options = {option.name: helper.get_attribute_value(option) for option in node.attribute}
            used_up = [name for name in node.input if last_use[name] == number and name not in self.weights]
            self.steps.append((OPERATIONS[node.op_type], list(node.input), node.output[0], options, used_up))

    def __call__(self, images: Sequence[np.ndarray]) -> list[Maps]:
        """The outputs for each image, of at least one. Images that exceed the memory together are halved."""
        try:
            return self._maps(images)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        half = len(images) // 2
        return self(images[:half]) + self(images[half:])

    @torch.inference_mode()
    def _maps(self, images: Sequence[np.ndarray]) -> list[Maps]:
        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float()
        values = {**self.weights, self.input: batch}
        for operation, inputs, output, options, used_up in self.steps:
            values[output] = operation(*(values[name] for name in inputs), **options)
            for name in used_up:
                del values[name]
        maps = (values[name].cpu().numpy() for name in (HEAT_MAP, LOG_SIZE, OFFSET))
        return list(zip(*maps, strict=True))
