"""Faster linear layers, where a measurement on this processor says that they are.

oneDNN can keep a weight in the order its kernels read it. On some processors that doubles the
speed of a matrix product, on others it changes nothing; so both ways are timed when the model is
loaded, and the layers are replaced only if it pays. Values are not changed in precision.
"""

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

logger = logging.getLogger("service.worker.linear")

_MIN_GAIN = 1.05
_MIN_FEATURES = 64


class PrepackedLinear(nn.Module):
    """``x @ weight.T + bias`` with the weight in oneDNN's own order; CPU, inference only."""

    def __init__(self, linear: nn.Linear, num_rows: int) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.bias = linear.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), num_rows)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_features]`` to ``[..., out_features]``."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return y


def speed_up_linears(model: nn.Module, num_rows: int) -> None:
    """Replace the linear layers of ``model`` if a trial says that it pays.

    Args:
        model: in eval mode; weights that are tied to an embedding are left alone.
        num_rows: rows of the matrix products to expect; the order is tuned to it.
    """
    shared = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    layers = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
        and id(child.weight) not in shared
        and min(child.in_features, child.out_features) >= _MIN_FEATURES
    ]
    if not layers or not _is_possible(layers[0][2]):
        return
    gain = _gain(max((layer for _, _, layer in layers), key=lambda m: m.weight.numel()), num_rows)
    if gain < _MIN_GAIN:
        logger.info("prepacked weights gain %.2fx here: not used", gain)
        return
    for parent, name, layer in layers:
        setattr(parent, name, PrepackedLinear(layer, num_rows))
    logger.info("prepacked weights gain %.2fx here: %d layers replaced", gain, len(layers))


def _is_possible(layer: nn.Linear) -> bool:
    return (
        layer.weight.device.type == "cpu"
        and layer.weight.dtype in (torch.float32, torch.bfloat16)
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _gain(layer: nn.Linear, num_rows: int) -> float:
    """How many times faster the prepacked layer is; both in turn, the best of several."""
    x = torch.randn(num_rows, layer.in_features, dtype=layer.weight.dtype)
    packed = PrepackedLinear(layer, num_rows)
    ways: tuple[Callable[[Tensor], Tensor], ...] = (layer, packed)
    best = [float("inf")] * 2
    with torch.inference_mode():
        for _ in range(7):
            for number, way in enumerate(ways):
                started = time.perf_counter()
                way(x)
                best[number] = min(best[number], time.perf_counter() - started)
    return best[0] / best[1]
