"""The limit: matrix products of MiniLM's shapes alone, by dtype, and the tokens/s they allow."""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

HIDDEN, INTERMEDIATE, LAYERS = 384, 1536, 6
# (features in, features out, how often in a layer)
SHAPES = ((HIDDEN, HIDDEN, 4), (HIDDEN, INTERMEDIATE, 1), (INTERMEDIATE, HIDDEN, 1))
FLOPS_PER_TOKEN = LAYERS * sum(2 * inputs * outputs * times for inputs, outputs, times in SHAPES)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1024, help="rows of each product")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    print("dtype | weights | GFLOP/s | tokens/s at most\n--|--|--|--")
    for dtype in (torch.float32, torch.bfloat16):
        for name, prepare in (("as stored", plain), ("prepacked", prepacked)):
            rate = flops_per_s(prepare, dtype, options.tokens, options.rounds)
            limit = rate / FLOPS_PER_TOKEN
            print(f"{str(dtype)[6:]} | {name} | {rate / 1e9:,.0f} | {limit:,.0f}", flush=True)


def plain(weight: Tensor, num_rows: int) -> Callable[[Tensor], Tensor]:
    """The product with the weight as it is."""
    return lambda x: linear(x, weight)


def prepacked(weight: Tensor, num_rows: int) -> Callable[[Tensor], Tensor]:
    """The product with the weight in oneDNN's own order."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, num_rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


@torch.inference_mode()
def flops_per_s(
    prepare: Callable[[Tensor, int], Callable[[Tensor], Tensor]],
    dtype: torch.dtype,
    num_rows: int,
    rounds: int,
) -> float:
    """Floating-point operations a second over a layer's products; the best round, being a limit."""
    products = []
    for inputs, outputs, times in SHAPES:
        x = torch.randn(num_rows, inputs, dtype=dtype)
        products += [(prepare(torch.randn(outputs, inputs, dtype=dtype), num_rows), x)] * times
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        for product, x in products:
            product(x)
        seconds.append(time.perf_counter() - started)
    return FLOPS_PER_TOKEN / LAYERS * num_rows / min(seconds)


if __name__ == "__main__":
    main()
