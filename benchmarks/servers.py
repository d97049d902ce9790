"""The servers that are measured: ours, and the peers whose interpreters are given."""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from service.embedded import embedded_model_folder

_PEERS = Path(__file__).parent / "peers"
_START_LIMIT_S = 180
_POLL_S = 0.01
_QUIET_SHARE = 0.1
# Peers must not look for newer files or report home.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "true"}


@dataclass(frozen=True)
class Server:
    """How to start a server and ask it.

    Attributes:
        command: its command line; ``{port}`` stands for the port.
        ready: path that answers 200 once it is ready.
        embed: path that embeds texts.
        openai: whether body and answer are OpenAI's; otherwise TEI's.
    """

    name: str
    command: Sequence[str]
    ready: str
    embed: str
    openai: bool
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def body(self, texts: Sequence[str]) -> bytes:
        """The JSON that asks for the embeddings of ``texts``."""
        if self.openai:
            fields = {"model": "bench", "input": list(texts), "encoding_format": "float"}
            return json.dumps(fields).encode()
        return json.dumps({"inputs": list(texts)}).encode()

    def vectors(self, answer: bytes) -> list[list[float]]:
        """The embeddings in an answer."""
        parsed = json.loads(answer)
        return [row["embedding"] for row in parsed["data"]] if self.openai else parsed


def ours(model: Path, dtype: str = "float32") -> Server:
    """This project's service."""
    command = [sys.executable, "-m", "service", "serve", str(model), "--name", "bench",
               "--dtype", dtype, "--port", "{port}"]  # fmt: skip
    return Server(f"model-base {dtype}", command, "/health/ready", "/v1/embeddings", True)


def sentence_transformers(model: Path, python: str) -> Server:
    """sentence-transformers' ``encode`` behind a plain FastAPI route."""
    command = [python, "-m", "uvicorn", "st_fastapi:app", "--port", "{port}",
               "--log-level", "warning"]  # fmt: skip
    return Server("sentence-transformers", command, "/health", "/embed", False, _PEERS,
                  {"BENCH_MODEL": str(model)})  # fmt: skip


def infinity(model: Path, python: str) -> Server:
    """Infinity with its torch engine, started by its own command line."""
    command = [str(Path(python).with_name("infinity_emb")), "v2", "--model-id", str(model),
               "--served-model-name", "bench", "--engine", "torch", "--device", "cpu",
               "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"]  # fmt: skip
    return Server("infinity", command, "/health", "/embeddings", True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark of servers asks for."""
    parser.add_argument("--model", type=Path, default=embedded_model_folder(), metavar="FOLDER")
    parser.add_argument("--dtypes", default="float32", help="of ours, by comma (default: float32)")
    for short, peer in (("st", "sentence-transformers"), ("infinity", "infinity")):
        name = f"PEER_{short.upper()}_PYTHON"
        parser.add_argument(
            f"--{short}-python", default=os.environ.get(name), metavar="PYTHON",
            help=f"interpreter that has {peer} (default: ${name}; without: not measured)",
        )  # fmt: skip


def chosen(options: argparse.Namespace) -> list[Server]:
    """Ours first, then the peers whose interpreters were given."""
    servers = [ours(options.model, dtype) for dtype in options.dtypes.split(",")]
    if options.st_python:
        servers.append(sentence_transformers(options.model, options.st_python))
    if options.infinity_python:
        servers.append(infinity(options.model, options.infinity_python))
    return servers


def prepare() -> None:
    """End our servers on SIGTERM too, and say so if something else uses the processors."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    busy = psutil.cpu_percent(interval=1) / 100
    if busy > _QUIET_SHARE:
        sys.stderr.write(f"{busy:.0%} of the processors are in use: the figures will not hold\n")


@contextlib.contextmanager
def running(server: Server) -> Iterator[tuple[int, float]]:
    """Run a server: its port, and the seconds from process start to ready."""
    port = _free_port()
    command = [part.format(port=port) for part in server.command]
    environment = {**os.environ, **_OFFLINE, **server.environment}
    with tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=server.folder, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait(server, process, port, started)
            yield port, time.perf_counter() - started
        except ServerEnded as error:
            log.seek(0)
            raise SystemExit(f"{error}\n{log.read()[-3000:]}") from error
        finally:
            _end(process)


class ServerEnded(Exception):
    """Raised when a server ends, or is not ready in time."""


def _wait(server: Server, process: subprocess.Popen[bytes], port: int, started: float) -> None:
    while not _is_ready(port, server.ready):
        if process.poll() is not None:
            raise ServerEnded(f"{server.name} ended with {process.returncode} before it was ready")
        if time.perf_counter() - started > _START_LIMIT_S:
            raise ServerEnded(f"{server.name} was not ready within {_START_LIMIT_S} s")
        time.sleep(_POLL_S)


def _is_ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def ask(server: Server, port: int, texts: Sequence[str]) -> list[list[float]]:
    """Embed ``texts`` once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json"}
        connection.request("POST", server.embed, server.body(texts), headers)
        answer = connection.getresponse()
        content = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{server.name} answered {answer.status}: {content[:300]!r}")
    return server.vectors(content)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
