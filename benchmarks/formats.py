"""Every weight format into every dtype: time and memory, transformers beside where it reads it.

A model of BERT-base's shape, float32. Each load is a fresh process; every weight is touched.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.load_2gb import MIB, memory_bytes

CONFIG = {
    "model_type": "bert", "architectures": ["BertModel"], "torch_dtype": "float32",
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
DTYPES = ("float32", "bfloat16", "float16")
FOREIGN = {"h5": "from_tf", "msgpack": "from_flax"}
Arrays = Mapping[str, np.ndarray]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--transformers-python", default=os.environ.get("PEER_ST_PYTHON"), metavar="PYTHON",
        help="interpreter that has transformers (default: $PEER_ST_PYTHON; without: not measured)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(load(*options.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        num_bytes = write_models(root)
        print(f"model: {num_bytes / MIB:,.0f} MiB in float32")
        print("format | dtype | library | load s | peak - model MiB")
        print("--|--|--|--|--")
        for path in sorted(root.iterdir()):
            for dtype in DTYPES:
                compare(path, dtype, options.transformers_python, options.rounds, num_bytes)


def compare(path: Path, dtype: str, peer: str | None, rounds: int, num_bytes: int) -> None:
    """Measure one format and dtype with both libraries in turn, and print medians."""
    pythons = {"model_base": sys.executable}
    if peer and path.name not in FOREIGN:
        pythons["transformers"] = peer
    figures: dict[str, list[dict[str, float]]] = {library: [] for library in pythons}
    for _ in range(rounds + 1):
        for library, python in pythons.items():
            figures[library].append(run(python, library, path, dtype))
    size = num_bytes if dtype == "float32" else num_bytes / 2
    for library, each in figures.items():
        seconds = statistics.median(f["seconds"] for f in each[1:])
        above = (statistics.median(f["peak"] for f in each[1:]) - size) / MIB
        print(f"{path.name} | {dtype} | {library} | {seconds:.2f} | {above:,.0f}", flush=True)


def run(python: str, library: str, path: Path, dtype: str) -> dict[str, float]:
    """Load once in a fresh process."""
    command = [python, "-m", "benchmarks.formats", "--child", library, str(path), dtype]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout)
    return result


def load(library: str, folder: str, dtype: str) -> dict[str, float]:
    """In the child: seconds of loading and touching, and the peak of memory that it adds."""
    import torch

    options: dict[str, object]
    if library == "model_base":
        from model_base import BertModel

        options = {"torch_dtype": dtype}
        if flag := FOREIGN.get(Path(folder).name):
            options[flag] = True
    else:
        from transformers import BertModel  # type: ignore[import-not-found,no-redef]  # the peer's

        options = {"dtype": getattr(torch, dtype)}
    before, started = memory_bytes("VmRSS"), time.perf_counter()
    model = BertModel.from_pretrained(folder, **options)
    for parameter in model.parameters():
        parameter.detach().view(-1)[::512].sum()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": memory_bytes("VmHWM") - before}


def write_models(root: Path) -> int:
    """A folder for each format; returns the bytes of the weights."""
    import torch

    from model_base import BertConfig, BertModel
    from model_base.checkpoints import FLAX_MSGPACK, TF_H5

    torch.manual_seed(0)
    model = BertModel(BertConfig(**CONFIG))
    model.save_pretrained(root / "safetensors")
    model.save_pretrained(root / "safetensors, shards", max_shard_size="100MB")
    model.save_pretrained(root / "bin", safe_serialization=False)
    model.save_pretrained(root / "bin, shards", safe_serialization=False, max_shard_size="100MB")
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    for name, fmt, file, spell in (
        ("h5", TF_H5, "tf_model.h5", _keras), ("msgpack", FLAX_MSGPACK, "flax_model.msgpack", _flax)
    ):  # fmt: skip
        (root / name).mkdir()
        model.config.save_pretrained(root / name)
        fmt.write(root / name / file, dict(_spelled(arrays, spell)), {})
    return sum(array.nbytes for array in arrays.values())


def _spelled(arrays: Arrays, spell: Callable[[str, bool], str]) -> Iterator[tuple[str, np.ndarray]]:
    for name, array in arrays.items():
        is_kernel = array.ndim == 2 and "embeddings" not in name
        yield spell(name, is_kernel), array.T if is_kernel else array


def _keras(name: str, is_kernel: bool) -> str:
    name = re.sub(r"\.layer\.(\d+)\.", r"/layer_._\1/", name).replace(".", "/")
    last = "kernel" if is_kernel else "gamma" if "LayerNorm" in name else "embeddings"
    name = re.sub("/weight$", f"/{last}", name)
    return "bert/" + re.sub("LayerNorm/bias$", "LayerNorm/beta", name) + ":0"


def _flax(name: str, is_kernel: bool) -> str:
    last = "kernel" if is_kernel else "scale" if "LayerNorm" in name else "embedding"
    return re.sub("/weight$", f"/{last}", name.replace(".", "/"))


if __name__ == "__main__":
    main()
