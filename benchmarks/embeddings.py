"""Embeddings over HTTP: tokens/s and latency of ours and of the peers, all in one run.

Every server runs all the time; each round measures each of them once, so what the machine does
meanwhile meets all alike. Figures are medians of the rounds.
"""

import argparse
import contextlib
import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.load import Figures, Load, Text, make_texts, measure
from benchmarks.servers import Server, add_options, ask, chosen, prepare, running

LOADS = (Load(1), Load(8), Load(32), Load(64), Load(2, 32))
_MIN_COSINE = 0.999


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--warm-seconds", type=float, default=2.0, help="before each, not counted")
    options = parser.parse_args()
    prepare()
    texts = make_texts(options.model, 1024)
    servers = chosen(options)
    with contextlib.ExitStack() as stack:
        ports = {server.name: stack.enter_context(running(server))[0] for server in servers}
        check_agreement(servers, ports, texts)
        print("clients x texts | server | tokens/s | ours is | p50 ms | p99 ms | client's CPU")
        print("--|--|--|--|--|--|--")
        for load in LOADS:
            figures: dict[str, list[Figures]] = {server.name: [] for server in servers}
            for _ in range(options.rounds):
                for server in servers:
                    figures[server.name].append(
                        measure(server, ports[server.name], texts, load, options.warm_seconds,
                                options.seconds)
                    )  # fmt: skip
            show(load, {name: median(rounds) for name, rounds in figures.items()})


def check_agreement(servers: Sequence[Server], ports: dict[str, int], texts: list[Text]) -> None:
    """Refuse to compare servers that compute different things."""
    sample = [text.text for text in sorted(texts, key=lambda t: t.num_tokens)[::128]]
    vectors = [np.asarray(ask(server, ports[server.name], sample)) for server in servers]
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    for server, unit in zip(servers, units, strict=True):
        cosine = float((unit * units[0]).sum(axis=1).min())
        if cosine < _MIN_COSINE:
            raise SystemExit(f"{server.name} gives other embeddings: smallest cosine {cosine:.4f}")


def median(rounds: Sequence[Figures]) -> Figures:
    """Each figure's median."""
    return Figures(
        *(statistics.median(getattr(figures, name) for figures in rounds)
          for name in ("tokens_per_s", "p50_ms", "p99_ms", "client_share"))
    )  # fmt: skip


def show(load: Load, figures: dict[str, Figures]) -> None:
    """Print a row for each server; the ratio is of the first server to the row's."""
    best = next(iter(figures.values())).tokens_per_s
    for name, row in figures.items():
        print(
            f"{load} | {name} | {row.tokens_per_s:,.0f} | {best / row.tokens_per_s:.2f}x | "
            f"{row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.client_share:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
