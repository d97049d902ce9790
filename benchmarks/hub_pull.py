"""Download of 2 GB in 8 shards over loopback: ours beside huggingface_hub's snapshot_download.

The hub is the tests' stand-in, in this process; each download is a process of its own, with 8
workers and an empty cache, and both take turns.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hub.standin import running

_NAME = "owner/large"
_SHARDS = 8
_OURS = """
import json, sys, time
from model_base.hub.files import HubRepository
names = json.loads(sys.argv[1])
started = time.perf_counter()
files = HubRepository("owner/large", None, {"resume_download": True})
assert all(files.find_all(names).values())
"""
_THEIRS = """
import json, sys, time
from huggingface_hub import snapshot_download
names = json.loads(sys.argv[1])
started = time.perf_counter()
snapshot_download("owner/large", allow_patterns=names, max_workers=8)
"""
_REPORT = """
passed = time.perf_counter() - started
status = open("/proc/self/status").read()
print(json.dumps([passed, int(status.split("VmHWM:")[1].split()[0]) * 1024]))
"""


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=2048, help="of all shards")
    options = parser.parse_args()
    size = options.megabytes * 2**20 // _SHARDS
    block = random.Random(0).randbytes(2**20)
    names = [f"model-{n:05}-of-{_SHARDS:05}.safetensors" for n in range(1, _SHARDS + 1)]
    files = {name: name.encode() + block * (size // len(block)) for name in names}
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "snapshot_download": []}
    with running() as hub:
        hub.add(_NAME, files)
        for _ in range(options.rounds):
            for kind, code in (("ours", _OURS), ("snapshot_download", _THEIRS)):
                found[kind].append(timed(code + _REPORT, names, hub.url))
    print(f"{options.megabytes} MB, {_SHARDS} shards | s | MB/s | peak MB\n--|--|--|--")
    for kind, rounds in found.items():
        seconds = statistics.median(passed for passed, _ in rounds)
        peak = max(peak for _, peak in rounds) / 2**20
        print(f"{kind} | {seconds:.2f} | {options.megabytes / seconds:.0f} | {peak:.0f}")
    ratios = [
        theirs / ours
        for (ours, _), (theirs, _) in zip(found["ours"], found["snapshot_download"], strict=True)
    ]
    print(f"speed of ours / theirs, median of {options.rounds}: {statistics.median(ratios):.2f}")


def timed(code: str, names: list[str], url: str) -> tuple[float, float]:
    """Seconds and peak bytes of a download into an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ, "HF_HOME": folder, "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(Path(__file__).parents[1]),
        }  # fmt: skip
        command = [sys.executable, "-c", code, json.dumps(names)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        passed, peak = json.loads(done.stdout.splitlines()[-1])
        return passed, peak


if __name__ == "__main__":
    main()
