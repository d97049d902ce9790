"""From POST /hub/pull to the first answer of the model, beside the sum of its parts.

The hub is the tests' stand-in, in this process, with all-MiniLM-L6-v2. One service does everything,
in turn: the parts are `model-base pull` into an empty cache, then a load from the folder to the
first answer.
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.servers import ours, prepare, running
from service.embedded import embedded_model_folder
from tests.hub import standin

_NAME = "owner/minilm"
_POLL_S = 0.01
_LIMIT_S = 120
_BODY = {"inputs": "hello"}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prepare()
    model = embedded_model_folder()
    files = {
        path.relative_to(model).as_posix(): path.read_bytes()
        for path in model.rglob("*")
        if path.is_file()
    }
    rows = []
    with standin.running() as hub, tempfile.TemporaryDirectory() as home:
        hub.add(_NAME, files)
        environment = {
            "HF_ENDPOINT": hub.url, "HF_HOME": home, "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1", "MODEL_BASE_MODEL_FOLDERS": json.dumps([home]),
        }  # fmt: skip
        server = dataclasses.replace(ours(model), environment=environment)
        with running(server) as (port, _):
            url = f"http://127.0.0.1:{port}"
            for _ in range(options.rounds):
                rows.append((_whole(url), *_parts(url, Path(home), environment)))
                shutil.rmtree(Path(home) / "hub")
    whole, pull, load = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(whole / (pull + load) for whole, pull, load in rows)
    print("| | s |\n|--|--|")
    print(f"| POST /hub/pull to the first answer | {whole:.2f} |")
    print(f"| `model-base pull` | {pull:.2f} |\n| load to the first answer | {load:.2f} |")
    print(f"whole / sum of its parts, median of {options.rounds}: {ratio:.2f}")


def _whole(url: str) -> float:
    started = time.perf_counter()
    _call("POST", f"{url}/hub/pull", {"repo_id": _NAME, "load_as": "whole"})
    _until_answered(url, "whole")
    passed = time.perf_counter() - started
    _call("DELETE", f"{url}/models/whole")
    return passed


def _parts(url: str, home: Path, environment: dict[str, str]) -> tuple[float, float]:
    shutil.rmtree(home / "hub")
    started = time.perf_counter()
    command = [sys.executable, "-m", "service", "pull", _NAME]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    pull, started = time.perf_counter() - started, time.perf_counter()
    _call("POST", f"{url}/models", {"name": "part", "source": done.stdout.strip()})
    _until_answered(url, "part")
    load = time.perf_counter() - started
    _call("DELETE", f"{url}/models/part")
    return pull, load


def _until_answered(url: str, name: str) -> None:
    started = time.perf_counter()
    while time.perf_counter() - started < _LIMIT_S:
        try:
            _call("POST", f"{url}/models/{name}/predict", _BODY)
        except urllib.error.HTTPError as error:
            if error.code not in (404, 503):
                raise SystemExit(f"{name}: {error.read()[:300]!r}") from error
            time.sleep(_POLL_S)
        else:
            return
    raise SystemExit(f"{name} has not answered within {_LIMIT_S} s")


def _call(method: str, url: str, body: Any = None) -> None:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=_LIMIT_S) as answer:
        answer.read()


if __name__ == "__main__":
    main()
