"""all-MiniLM-L6-v2 as a SavedModel: our graph, the exported one, and the service beside it.

First a batch of 8 texts of 128 tokens: the model's ``serving`` function and the SavedModel loaded
by TensorFlow alone, called in turn in one process (two processes of the same code differ by up to a
quarter on some machines). Then requests for one text of 16 tokens over HTTP (raw
tensors), at 1 and 16 clients, beside calls of the SavedModel in a bare loop.
"""

import argparse
import functools
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.servers import Server, prepare, running
from service.embedded import embedded_model_folder

_SECONDS = 4.0
_WARM = 5
_IDS = [101, *range(2000, 2014), 102]


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, shape = options.child
        print(json.dumps(call_ms(Path(folder), *map(int, shape.split("x")))))
        return
    prepare()
    with tempfile.TemporaryDirectory() as name:
        exported = Path(name, "minilm")
        command = [sys.executable, "-m", "service", "convert", str(embedded_model_folder()),
                   str(exported), "--to", "saved-model"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        compare_graphs(exported, options.rounds)
        compare_requests(exported, options.rounds)


def compare_graphs(exported: Path, rounds: int) -> None:
    """Print the medians of both, and of their ratio, a process for each round."""
    pairs = [child(exported / "1", "8x128") for _ in range(rounds)]
    ours, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    print("8x128 | our graph ms | SavedModel by tf.function ms | ratio\n--|--|--|--")
    print(f"median of {rounds} | {ours:.1f} | {bare:.1f} | {ratio:.2f}", flush=True)


def compare_requests(exported: Path, rounds: int) -> None:
    """Print requests a second over HTTP, and of a bare loop in a process of its own."""
    command = [sys.executable, "-m", "service", "serve", str(exported), "--name", "bench",
               "--framework", "saved_model", "--port", "{port}"]  # fmt: skip
    server = Server("model-base", command, "/health/ready", "", False)
    rates: dict[int, list[float]] = {1: [], 16: []}
    bare = []
    with running(server) as (port, _):
        for _ in range(rounds):
            for clients, found in rates.items():
                found.append(requests_per_s(port, clients))
            bare.append(1000 / child(exported / "1", "1x16")[1])
    print("1x16 | requests/s\n--|--")
    for clients, found in rates.items():
        print(f"HTTP, {clients} clients | {statistics.median(found):.0f}")
    print(f"bare call, one after another | {statistics.median(bare):.0f}", flush=True)


def child(exported: Path, shape: str) -> tuple[float, float]:
    """``call_ms`` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.saved_model", "--child", str(exported), shape]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    ours, bare = json.loads(done.stdout.splitlines()[-1])
    return ours, bare


def call_ms(exported: Path, batch: int, length: int) -> tuple[float, float]:
    """Median milliseconds of a call of our graph and of the SavedModel, called in turn."""
    import tensorflow as tf

    from model_base import TFBertModel

    ids = tf.ones((batch, length), tf.int32) * 2000
    inputs = {
        "input_ids": ids, "attention_mask": tf.ones_like(ids), "token_type_ids": tf.zeros_like(ids),
    }  # fmt: skip
    serving = TFBertModel.from_pretrained(embedded_model_folder()).serving
    loaded = tf.saved_model.load(str(exported))
    signature = loaded.signatures["serving_default"]
    calls: list[Callable[[], Any]] = [
        functools.partial(serving, inputs),
        functools.partial(signature, **inputs),
    ]
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + 2 * _SECONDS
    while time.perf_counter() < end:
        for call, passed in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()["last_hidden_state"].numpy()
            passed.append(1000 * (time.perf_counter() - started))
    ours, bare = (statistics.median(passed[_WARM:]) for passed in times)
    return ours, bare


def requests_per_s(port: int, clients: int) -> float:
    """Answers a second to so many clients, each of which asks again at once."""
    body = json.dumps({"inputs": {
        "input_ids": [_IDS], "attention_mask": [[1] * 16], "token_type_ids": [[0] * 16],
    }})  # fmt: skip
    counts = [0] * clients
    begin = threading.Barrier(clients + 1)

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        begin.wait()
        end = time.perf_counter() + _SECONDS
        while time.perf_counter() < end:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/models/bench/predict", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise SystemExit(f"answered {answer.status}: {content[:300]!r}")
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    for thread in threads:
        thread.join()
    return sum(counts) / _SECONDS


if __name__ == "__main__":
    main()
