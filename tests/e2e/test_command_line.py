"""The command line as a user meets it: messages, exit statuses, odd surroundings."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Start = Callable[..., Any]
SIZE = 2**16


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "service", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_port_that_is_taken_is_2_and_asks_for_another(tiny: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("serve", tiny, "--port", port)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"model-base: cannot listen on 127.0.0.1:{port} (Address already in use): give another "
        "with --port\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/no/such/folder"], "/no/such/folder is not a folder; accepted: a model folder, or"),
        ([ROOT / "docs"], "has no config.json"),
        (["a/b", "--name", "predict"], "may not end in one of"),
        (["a/b", "--host", "0.0.0.0"], "--no-auth"),
        (["a/b", "--host", "192.0.2.1", "--no-auth"], "with --host"),
    ],
)
def test_what_cannot_be_served_is_2_and_one_line(arguments: list[object], words: str) -> None:
    ended = run("serve", *arguments, "--port", 0)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert words in ended.stderr


def test_beyond_this_machine_a_key_or_a_decision_is_enough(start: Start, tiny: Path) -> None:
    for way_out in (["--api-key", "k"], ["--no-auth"]):
        server = start(tiny, "--host", "127.0.0.1", *way_out).wait_ready()
        status = server.get("/models").status_code
        assert status == (401 if "k" in way_out else 200)
        assert server.stop() == 0


def test_a_model_that_cannot_be_loaded_is_1_and_says_why(start: Start, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    server = start(tmp_path)
    assert server.wait() == 1
    assert "failed: " in server.output
    assert "has none of model.safetensors" in server.output
    assert "Traceback" not in server.output


def test_a_service_with_nowhere_to_write_still_serves(start: Start, tiny: Path, full: Path) -> None:
    server = start(tiny, home=full).wait_ready()
    assert server.embed().status_code == 200
    assert server.stop() == 0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system without a free byte."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, timeout=30).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a tmpfs needs root")
    try:
        (folder / "filler").write_bytes(b"x" * SIZE)
        with pytest.raises(OSError, match="No space left"):
            (folder / "more").write_bytes(b"x")
        (folder / "more").unlink()
        yield folder
    finally:  # lazily: whatever a failed test left open
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


def test_no_process_imports_from_the_folder_it_is_started_in(
    start: Start, tiny: Path, tmp_path: Path
) -> None:
    for name in ("torch", "numpy", "psutil", "huggingface_hub", "service", "model_base"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not this one')")
    server = start(tiny, folder=tmp_path).wait_ready()
    assert server.embed().status_code == 200
    failed = start("owner/name", folder=tmp_path)
    assert failed.wait() == 1
    assert "cannot download owner/name" in failed.output
    assert "not this one" not in failed.output
