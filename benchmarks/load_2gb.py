"""A 2 GB bf16 checkpoint in shards: memory and time from process start to the first output."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MIB = 2**20
VOCABULARY, POSITIONS, HIDDEN, INNER, LAYERS = 30522, 512, 2048, 8192, 19
CONFIG = {
    "model_type": "bert", "architectures": ["BertModel"], "torch_dtype": "bfloat16",
    "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
    "num_attention_heads": 32, "intermediate_size": INNER, "hidden_act": "gelu",
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02, "pad_token_id": 0,
}  # fmt: skip
_SHARD_BYTES = 500 * 10**6


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--transformers-python", default=os.environ.get("PEER_ST_PYTHON"), metavar="PYTHON",
        help="interpreter that has transformers (default: $PEER_ST_PYTHON; without: not measured)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=("model_base", "transformers"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to write the model; default: temporary")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(load_and_run(options.child, options.folder)))
        return
    pythons = {"model_base": sys.executable, "transformers": options.transformers_python}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        num_bytes = write_model(Path(folder))
        print(f"model: {num_bytes / MIB:,.0f} MiB")
        rounds = [
            {name: run(name, python, folder) for name, python in pythons.items() if python}
            for _ in range(options.rounds + 1)
        ][1:]  # the first one reads the files into the page cache
    show(rounds, num_bytes)


def show(rounds: list[dict[str, dict[str, float]]], num_bytes: int) -> None:
    """Print medians; memory is what loading and the forward add to a process with its imports."""
    print("library | load adds MiB | peak after forward MiB | peak - model MiB | first output s")
    print("--|--|--|--|--")
    for name in rounds[0]:
        loaded, peak, seconds = (
            statistics.median(each[name][figure] for each in rounds)
            for figure in ("loaded", "peak", "first_output_s")
        )
        above = (peak - num_bytes) / MIB
        print(f"{name} | {loaded / MIB:,.0f} | {peak / MIB:,.0f} | {above:,.0f} | {seconds:.2f}")


def run(library: str, python: str, folder: str) -> dict[str, float]:
    """Load and run once in a fresh process of ``python``."""
    root = str(Path(__file__).parents[1])
    command = [python, "-m", "benchmarks.load_2gb", "--child", library, "--folder", folder]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "STARTED": repr(time.time())}
    done = subprocess.run(
        command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def load_and_run(library: str, folder: Path) -> dict[str, float]:
    """In the child: bytes added by loading, peak added until after a forward, seconds so far."""
    import torch

    if library == "model_base":
        from model_base import AutoModel  # BertModel: imports the stack

        dtype = {"torch_dtype": "auto"}
    else:
        from transformers import AutoModel  # type: ignore[import-not-found,no-redef]  # the peer's

        dtype = {"dtype": "auto"}
    before = memory_bytes("VmRSS")
    model = AutoModel.from_pretrained(folder, **dtype).eval()
    loaded = memory_bytes("VmRSS") - before
    with torch.inference_mode():
        model(torch.arange(100, 116)[None])
    seconds = time.time() - float(os.environ["STARTED"])
    return {"loaded": loaded, "peak": memory_bytes("VmHWM") - before, "first_output_s": seconds}


def memory_bytes(field: str) -> int:
    """VmRSS, resident now, or VmHWM, the most so far; psutil is not in every environment."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"{field}:")[2].split()[0])


def write_model(folder: Path) -> int:
    """Write configuration, shards and index; returns the bytes of the weights."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    shards: list[dict[str, torch.Tensor]] = [{}]
    total = 0
    for name, shape in shapes():
        tensor = (torch.randn(shape) * 0.02).to(torch.bfloat16)
        if sum(t.nbytes for t in shards[-1].values()) + tensor.nbytes > _SHARD_BYTES:
            shards.append({})
        shards[-1][name] = tensor
        total += tensor.nbytes
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every weight of the model: BERT's names as checkpoints spell them."""
    for name, rows in (("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)):
        yield f"embeddings.{name}_embeddings.weight", (rows, HIDDEN)
    yield from _norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            yield from _dense(f"{layer}.attention.{name}", HIDDEN, HIDDEN)
        yield from _norm(f"{layer}.attention.output.LayerNorm")
        yield from _dense(f"{layer}.intermediate.dense", HIDDEN, INNER)
        yield from _dense(f"{layer}.output.dense", INNER, HIDDEN)
        yield from _norm(f"{layer}.output.LayerNorm")
    yield from _dense("pooler.dense", HIDDEN, HIDDEN)


def _dense(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (HIDDEN,)
    yield f"{name}.bias", (HIDDEN,)


if __name__ == "__main__":
    main()
