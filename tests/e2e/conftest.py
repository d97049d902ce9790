"""The real service in a process of its own, and proof that it leaves nothing behind."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from service.embedded import EmbeddedModelMissing, embedded_model_folder

ROOT = Path(__file__).parents[2]
MARK = "E2E_SERVER"  # in the environment of a server and of every process that it starts
PATIENCE_S = 60.0

_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """What a condition gives as soon as it holds."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {PATIENCE_S} s in vain: {what}"
        time.sleep(0.01)
    return value


class Server:
    """One running service.

    Attributes:
        home: its HOME and TMPDIR, empty at the start.
    """

    def __init__(
        self, home: Path, folder: Path, arguments: list[str], environment: dict[str, str]
    ) -> None:
        self.home = home
        self.mark = f"{os.getpid()}-{next(_numbers)}"
        self._lines: list[str] = []
        self._heard = threading.Condition()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MODEL_BASE_")}
        folders = {"HOME": str(home), "TMPDIR": str(home), "HF_HOME": str(home / "hub")}
        folders["PYTHONPATH"] = str(ROOT)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "service", *arguments],  # as the installed command is
            cwd=folder,
            env=clean | folders | {MARK: self.mark, "HF_HUB_OFFLINE": "1"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self._lines.append(line.rstrip("\n"))
                self._heard.notify_all()
        with self._heard:
            self._lines.append("(end)")
            self._heard.notify_all()

    @property
    def output(self) -> str:
        with self._heard:
            return "\n".join(self._lines)

    def line(self, words: str) -> str:
        """The first line with ``words`` in it, once it is there."""

        def found() -> str | None:
            lines = (line for line in self._lines if words in line or line == "(end)")
            return next(lines, None)

        with self._heard:
            assert self._heard.wait_for(found, PATIENCE_S), self._lines
            line = found()
        assert line is not None
        assert words in line, self.output
        return line

    @property
    def address(self) -> str:
        return self.line("listening on").rpartition(" ")[2]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def wait_ready(self) -> "Server":
        self.line(": ready on")
        return self

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return httpx.request(
            method, self.address + path, **{"timeout": PATIENCE_S, "trust_env": False} | arguments
        )

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.call("GET", path, **arguments)

    def post(self, path: str, json: Any = None, **arguments: Any) -> httpx.Response:
        return self.call("POST", path, json=json, **arguments)

    def embed(self, text: Any = "hello", **arguments: Any) -> httpx.Response:
        return self.post("/embed", {"inputs": text, "truncate": True}, **arguments)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that have these labels."""
        from prometheus_client.parser import text_string_to_metric_families

        total = 0.0
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                if sample.name == f"model_base_{name}" and labels.items() <= sample.labels.items():
                    total += sample.value
        return total

    def state(self, name: str) -> str:
        return str(self.get(f"/models/{name}").json().get("state"))

    def wait_state(self, name: str, *states: str) -> dict[str, Any]:
        until(lambda: self.state(name) in states, f"{name} to be {states}")
        row: dict[str, Any] = self.get(f"/models/{name}").json()
        return row

    def processes(self) -> list[psutil.Process]:
        """Every process that this server started, itself included, whoever its parent is now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self.mark
        except psutil.Error:
            return False

    @property
    def template(self) -> psutil.Process:
        (template,) = (
            child
            for child in psutil.Process(self.process.pid).children()
            if "service.worker" in child.cmdline()
        )
        return template

    @property
    def workers(self) -> list[psutil.Process]:
        known = (self.process.pid, self.template.pid)
        return [process for process in self.processes() if process.pid not in known]

    @contextlib.contextmanager
    def held(self) -> Iterator[psutil.Process]:
        """The only worker, stopped: what is sent to it waits."""
        (worker,) = self.workers
        worker.suspend()
        try:
            yield worker
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.resume()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.send(number)
        return self.wait()

    def end(self) -> None:
        """End it if it runs, and check that nothing of it is left."""
        if self.process.poll() is None:
            self.stop()
        _, left = psutil.wait_procs(self.processes(), timeout=10)
        for process in left:
            process.kill()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert left == []
        assert [path for path in self.home.rglob("*") if not path.is_dir()] == []


def shared_memory() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if not name.startswith("pytest")}


class Starter:
    """Starts servers and ends them."""

    def __init__(self, homes: Path) -> None:
        self._homes = homes
        self._servers: list[Server] = []
        self._shared_memory = shared_memory()

    def __call__(
        self,
        source: Path | str | None,
        *arguments: str,
        home: Path | None = None,
        folder: Path = ROOT,
        **settings: str,
    ) -> Server:
        """Serve ``source`` from ``folder``; settings are given as ``limits__max_inputs="3"``."""
        if home is None:
            home = self._homes / f"home{len(self._servers)}"
            home.mkdir()
        environment = {
            key if key.isupper() else f"MODEL_BASE_{key.upper()}": value
            for key, value in settings.items()
        }
        given = ["serve", *([str(source)] if source else []), "--port", "0", *arguments]
        server = Server(home, folder, given, environment)
        self._servers.append(server)
        return server

    def end(self) -> None:
        with contextlib.ExitStack() as stack:
            for server in self._servers:
                stack.callback(server.end)
        assert shared_memory() <= self._shared_memory


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """A server for this test alone."""
    starter = Starter(tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="session")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Starter]:
    """Make a starter, to be ended by the fixture that shares its servers."""
    return lambda: Starter(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 30 thousand parameters that makes embeddings of 32 numbers."""
    from model_base import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(ROOT / "tests" / "data" / "tiny_bert", folder)
    BertModel(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{kind}"}
        for index, path, kind in ((0, "", "models.Transformer"), (1, "1_Pooling", "models.Pooling"))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    try:
        return embedded_model_folder()
    except EmbeddedModelMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def shared(tiny: Path, start_once: Callable[[], Starter]) -> Iterator[Server]:
    """A server of ``tiny`` for all tests of a module; a test leaves it as it found it."""
    starter = start_once()
    server = starter(tiny, "--models", str(tiny.parent))
    yield server.wait_ready()
    starter.end()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until
