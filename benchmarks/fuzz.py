"""Damage weight files at random and read them: every run must end in an error of ours, or in data.

    python -m benchmarks.fuzz [--count 2000] [--format tf_h5]

Prints what each format's files ended in; the exit status is 1 if anything else came up. Each is
read in a process of its own: HDF5 itself is known to search some damaged files for ever ("hung").
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from model_base.checkpoints import FORMATS, TF_CHECKPOINT
from model_base.checkpoints.base import CheckpointFormat
from model_base.errors import CheckpointUnreadable

_HEADER_BYTES = 2048
_MAX_SECONDS = 5
_ENDS = ("read", "refused", "another error")


def main() -> int:
    """Fuzz every format that we can write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="of damaged files, each format")
    parser.add_argument("--format", help="only this one")
    options = parser.parse_args()
    failed = False
    for fmt in FORMATS:
        if fmt is TF_CHECKPOINT or options.format not in (None, fmt.name):
            continue
        ends = Counter(fuzz(fmt, range(options.count)))
        print(fmt.name, dict(ends), flush=True)
        failed |= bool(set(ends) - {"read", "refused", "hung"})
    return int(failed)


def fuzz(fmt: CheckpointFormat, seeds: range) -> list[str]:
    """How reading ended for each seed: ``read``, ``refused``, ``hung``, or something else."""
    rng = np.random.default_rng(0)
    tensors = {f"layer/{i}/kernel": rng.random((6, 5), np.float32) for i in range(5)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"weights{fmt.suffix}")
        fmt.write(path, tensors, {})
        whole = path.read_bytes()
        return [_end(fmt, path, damaged(whole, seed)) for seed in seeds]


def _end(fmt: CheckpointFormat, path: Path, content: bytes) -> str:
    path.write_bytes(content)
    pid = os.fork()
    if pid == 0:
        signal.alarm(_MAX_SECONDS)
        os._exit(_ENDS.index(read(fmt, path)))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -signal.SIGALRM:
        return "hung"
    return _ENDS[status] if 0 <= status < len(_ENDS) else f"ended by {status}"


def read(fmt: CheckpointFormat, path: Path) -> str:
    """Read everything in a file: ``read``, ``refused``, or ``another error``, which is printed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.closing(fmt.open(path)) as checkpoint:
                for name in checkpoint.infos:
                    checkpoint.read(name)
    except CheckpointUnreadable:
        return "refused"
    except Exception:
        traceback.print_exc()
        return "another error"
    return "read"


def damaged(content: bytes, seed: int) -> bytes:
    """Some bytes changed, half of the time near the start, and now and then the end cut off."""
    rng = np.random.default_rng(seed)
    data = bytearray(content)
    reach = min(len(data), _HEADER_BYTES) if seed % 2 else len(data)
    for place in rng.integers(0, reach, rng.integers(1, 9)):
        data[place] = rng.integers(256)
    return bytes(data[: rng.integers(1, len(data) + 1)] if seed % 5 == 0 else data)


if __name__ == "__main__":
    sys.exit(main())
