"""kill -9 in the middle of a download, again and again: nothing is lost, doubled or left behind."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import Request, Response
from starlette.responses import StreamingResponse

from tests.e2e.conftest import MARK, ROOT, until
from tests.hub.standin import Hub, oid_of, running

NAME = "owner/large"
KILLS = 25  # of each of the two
CHUNK = 1 << 16
SMALL = "from huggingface_hub import constants; constants.DOWNLOAD_CHUNK_SIZE = 1 << 16\n"


class Counting:
    """A hub that counts what it sends, and calls ``at`` when it has sent ``point`` bytes more."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.asked: list[tuple[str, int]] = []
        self.left = -1
        self.at: Callable[[], None] = lambda: None
        hub.content = self.content  # type: ignore[method-assign]

    def content(self, request: Request, path: str, content: bytes) -> Response:
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append((path, start))
        headers = {"Content-Length": str(len(content) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return StreamingResponse(self.pieces(content[start:]), 206 if start else 200, headers)

    def pieces(self, content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), CHUNK):
            piece = content[start : start + CHUNK]
            if 0 <= self.left < len(piece):
                self.left = -1
                self.at()
            elif self.left >= 0:
                self.left -= len(piece)
            yield piece


@pytest.fixture
def counting() -> Iterator[Counting]:
    numbers = random.Random(7)
    files = {f"model-{n}-of-5.safetensors": numbers.randbytes(1 << 21) for n in range(1, 6)}
    index = {"metadata": {}, "weight_map": {f"w{n}": name for n, name in enumerate(files)}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    files["config.json"] = b'{"model_type": "bert"}'
    files["vocab.txt"] = numbers.randbytes(300_000).hex().encode()
    with running() as hub:
        hub.add(NAME, files)
        yield Counting(hub)


@pytest.fixture
def environment(counting: Counting, tmp_path: Path) -> dict[str, str]:
    """Of a process that asks this hub, and takes what comes in small chunks."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(SMALL)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MODEL_BASE_")}
    return clean | {
        "PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(ROOT))),
        "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": counting.hub.url, "HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1", MARK: f"kills-{os.getpid()}",
    }  # fmt: skip


def processes() -> list[psutil.Process]:
    def is_ours(process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == f"kills-{os.getpid()}"
        except psutil.Error:
            return False

    return list(filter(is_ours, psutil.process_iter()))


def points(counting: Counting) -> list[int]:
    """Bytes from one kill to the next; all of them are less than there are."""
    numbers = random.Random(11)
    shares = [numbers.random() for _ in range(KILLS)]
    total = sum(map(len, counting.hub.repositories[NAME].head.files.values()))
    return [int(0.9 * total * share / sum(shares)) for share in shares]


class Disk:
    """The cache between two runs."""

    def __init__(self, folder: Path, counting: Counting) -> None:
        self._blobs = folder / "hub" / "models--owner--large" / "blobs"
        self._counting = counting
        files = counting.hub.repositories[NAME].head.files
        self._files = {oid_of(name, content): (name, content) for name, content in files.items()}
        self.num_files = len(files) - 1  # .gitattributes is not needed
        self.num_continued = 0

    def begun(self) -> dict[str, int]:
        """Bytes of what is not complete, by the hub's name of the content."""
        found = self._blobs.glob("*.incomplete")
        return {path.name.partition(".")[0]: path.stat().st_size for path in found}

    def missing(self) -> int:
        there = sum(path.stat().st_size for path in self._blobs.glob("*"))
        return sum(len(content) for _, content in self._files.values()) - there

    def complete(self) -> set[str]:
        return {path.name for path in self._blobs.glob("*") if "." not in path.name}

    def check_asked(self, begun: dict[str, int], complete: set[str]) -> None:
        """Each file was asked for from where it was left, and none that was complete."""
        oids = {name: oid for oid, (name, _) in self._files.items()}
        for path, start in self._counting.asked:
            oid = oids.get(path, path)
            assert oid not in complete
            assert start == begun.get(oid, 0), path
            self.num_continued += start > 0
        self._counting.asked.clear()

    def check_whole(self) -> None:
        assert self.begun() == {}
        for oid in self.complete():
            _, content = self._files[oid]
            assert hashlib.sha256((self._blobs / oid).read_bytes()).digest() == (
                hashlib.sha256(content).digest()
            )
        assert len(self.complete()) == self.num_files


def test_a_downloader_that_is_killed_goes_on_where_it_was(
    counting: Counting, environment: dict[str, str], tmp_path: Path
) -> None:
    disk = Disk(tmp_path / "hf", counting)
    command = [sys.executable, "-m", "service", "pull", NAME]
    for point in [*points(counting), -1]:
        begun, complete = disk.begun(), disk.complete()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            counting.at, counting.left = process.kill, point
            status = process.wait(60)
        disk.check_asked(begun, complete)
        assert status == (0 if point < 0 else -signal.SIGKILL)
    disk.check_whole()
    assert disk.num_continued > KILLS // 2


def test_a_service_that_is_killed_goes_on_where_it_was(
    counting: Counting, environment: dict[str, str], tmp_path: Path
) -> None:
    disk = Disk(tmp_path / "hf", counting)
    kills = points(counting)
    while kills:
        # Its downloader goes on until it sees that the service is gone: little may be left to do.
        point = min(kills.pop(), disk.missing() // 2) if disk.missing() > 4 * CHUNK else -1
        begun, complete = disk.begun(), disk.complete()
        counting.left = point
        with serving(environment, counting) as (server, url):
            if not begun and not complete:
                with contextlib.suppress(httpx.TransportError):  # killed before it could answer
                    httpx.post(f"{url}/hub/pull", json={"repo_id": NAME}, trust_env=False)
            if point < 0:
                until(lambda: len(disk.complete()) == disk.num_files)
                server.terminate()
            assert server.wait(60) == (-signal.SIGTERM if point < 0 else -signal.SIGKILL)
        until(lambda: not processes(), "the processes to end")
        disk.check_asked(begun, complete)
        if point < 0:
            disk.check_whole()
            shutil.rmtree(tmp_path / "hf")
    assert disk.num_continued > KILLS // 2


@contextlib.contextmanager
def serving(
    environment: dict[str, str], counting: Counting
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service without models, which the hub kills when the time has come, and its address."""
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "service.app:create_app",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        counting.at = server.kill
        assert server.stderr is not None
        line = next((line for line in server.stderr if "running on" in line), "")
        reader = threading.Thread(target=server.stderr.read)
        reader.start()
        yield server, line.partition("running on ")[2].partition(" ")[0]
        reader.join(60)
