"""One short text: p50 over HTTP against the forward alone, timed in a bare loop of its own."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.load import Load, Text, measure, quantile
from benchmarks.servers import add_options, ours, prepare, running

TEXT = "What does a short question cost?"
_WARM_LOOPS = 20
_SECONDS = 4.0


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forward", help=argparse.SUPPRESS)  # the child: time the forward alone
    options = parser.parse_args()
    if options.forward:
        print(json.dumps(forward_ms(options.model, options.forward)))
        return
    prepare()
    print("dtype | over HTTP p50 ms | forward alone p50 ms | service adds ms\n--|--|--|--")
    for dtype in options.dtypes.split(","):
        server = ours(options.model, dtype)
        over_http, alone = [], []
        with running(server) as (port, _):
            for _ in range(options.rounds):
                figures = measure(server, port, [Text(TEXT, 1)], Load(1), 1.0, _SECONDS)
                over_http.append(figures.p50_ms)
                alone.append(in_its_own_process(options.model, dtype))
        http, bare = statistics.median(over_http), statistics.median(alone)
        print(f"{dtype} | {http:.2f} | {bare:.2f} | {http - bare:.2f}", flush=True)


def in_its_own_process(model: Path, dtype: str) -> float:
    """``forward_ms`` in a fresh process, where nothing else runs."""
    command = [sys.executable, "-m", "benchmarks.latency", "--model", str(model)]
    command += ["--forward", dtype]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def forward_ms(model: Path, dtype: str) -> float:
    """Median milliseconds of one forward of ``TEXT``, as a worker computes it, in a bare loop."""
    import numpy as np
    from tokenizers import Tokenizer

    from service.channel.messages import Load
    from service.core.work import SequenceWork, Want
    from service.worker.runners.torch import TorchRunner

    threads = len(os.sched_getaffinity(0))
    order = Load(str(model), dtype, "cpu", ("mean",), threads, max_batch_tokens=1024)
    runner = TorchRunner.load(order, lambda done, total: None)
    runner.warm_up()
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    work = [SequenceWork(np.array(tokenizer.encode(TEXT).ids, np.int32), Want.EMBEDDING)]
    times = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        runner.run(work, threads)
        times.append(1000 * (time.perf_counter() - started))
    return quantile(sorted(times[_WARM_LOOPS:] or times), 0.5)


if __name__ == "__main__":
    main()
