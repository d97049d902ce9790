"""Process start to ready, and to the first answer: ours and the peers in turn."""

import argparse
import statistics
import time

from benchmarks.servers import add_options, ask, chosen, prepare, running


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prepare()
    servers = chosen(options)
    ready: dict[str, list[float]] = {server.name: [] for server in servers}
    first: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(options.rounds):
        for server in servers:
            with running(server) as (port, ready_s):
                asked = time.perf_counter()
                ask(server, port, ["Hello, world!"])
                ready[server.name].append(ready_s)
                first[server.name].append(ready_s + time.perf_counter() - asked)
    base = statistics.median(ready[servers[0].name])
    print("server | ready after s | ours takes | first answer after s\n--|--|--|--")
    for name in ready:
        ready_s, first_s = statistics.median(ready[name]), statistics.median(first[name])
        print(f"{name} | {ready_s:.2f} | {base / ready_s:.2f}x | {first_s:.2f}")


if __name__ == "__main__":
    main()
