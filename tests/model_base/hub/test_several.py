"""Several files of a repository at once: side by side, with one progress, all or an error."""

import errno
import io
import shutil
import threading
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from model_base import HubUnavailable
from model_base.hub.files import HubRepository, model_files
from model_base.hub.progress import Bar, Stoppable, Stopped
from tests.hub.recorded import Recorded
from tests.hub.standin import Hub

NAME = "owner/model"
SHARDS = {f"model-{n}.safetensors": bytes([n]) * (1000 * n) for n in (1, 2, 3)}


@pytest.fixture
def shards(hub: Hub) -> Hub:
    hub.add(NAME, {**SHARDS, "config.json": b"{}"})
    return hub


def test_shards_come_side_by_side(shards: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    together, send = threading.Barrier(len(SHARDS)), shards.content

    def wait_for_others(*args: Any) -> Any:
        together.wait(30)
        return send(*args)

    monkeypatch.setattr(shards, "content", wait_for_others)
    found = model_files(NAME).find_all(SHARDS)
    assert {name: path and path.read_bytes() for name, path in found.items()} == SHARDS


@pytest.mark.parametrize("resuming", [False, True])
def test_one_progress_tells_of_all_that_is_fetched(shards: Hub, resuming: bool) -> None:
    model_files(NAME).find("model-1.safetensors")
    progress = Recorded()
    files = HubRepository(NAME, None, {"resume_download": resuming}, progress)
    found = files.find_all([*SHARDS, "absent"])
    assert found.pop("absent") is None
    assert all(found.values())
    assert (progress.expected, progress.come, progress.files) == ([5000, 2], 5000, 2)


def test_what_another_brings_meanwhile_counts(shards: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    name, progress = "model-2.safetensors", Recorded()
    files = HubRepository(NAME, None, {}, progress)
    ask = huggingface_hub.get_hf_file_metadata

    def ask_while_another_downloads(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", ask)
        model_files(NAME).find(name)
        return ask(*args, **kwargs)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", ask_while_another_downloads)
    assert files.find(name) is not None
    assert (progress.expected, progress.come, progress.files) == ([2000, 1], 2000, 1)


def test_what_was_begun_counts_and_what_is_of_no_use_does_not(shards: Hub, tmp_path: Path) -> None:
    name = "model-3.safetensors"
    path = model_files(NAME, cache_dir=tmp_path).find(name)
    assert path is not None
    blob = path.resolve()
    for begun in (SHARDS[name][:100], b"x" * 100):  # the second is damaged
        path.unlink(missing_ok=True)
        blob.unlink()
        blob.with_name(f"{blob.name}.incomplete").write_bytes(begun)
        progress = Recorded()
        options = {"resume_download": True, "cache_dir": tmp_path}
        assert HubRepository(NAME, None, options, progress).find(name) is not None
        assert (progress.come, progress.files) == (3000, 1)


def test_one_that_fails_is_the_failure_of_all(shards: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    send = shards.content

    def damaged(request: Any, path: str, content: bytes) -> Any:
        return send(request, path, bytes(len(content)) if len(content) == 2000 else content)

    monkeypatch.setattr(shards, "content", damaged)
    with pytest.raises(HubUnavailable, match="model-2.safetensors .* not have the hash"):
        model_files(NAME).find_all(SHARDS)
    stopped = Stoppable(Recorded())
    stopped.update(1)
    stopped.stop()
    with pytest.raises(Stopped):
        stopped.update(1)


def test_a_disk_without_room_is_found_out_before_the_first_byte(
    shards: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=5999)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="need 6000 bytes, and 5999 are free") as caught:
        model_files(NAME).find_all(SHARDS)
    assert caught.value.errno == errno.ENOSPC
    assert shards.sent == []
    assert model_files(NAME).find("model-1.safetensors") is not None


def test_the_bar_shows_bytes_of_all_and_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    from huggingface_hub.utils import enable_progress_bars

    enable_progress_bars()
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with Bar(NAME) as bar:
        bar.expect(1000, 1)
        bar.expect(3000, 2)
        bar.update(4000)
        bar.finish()
    shown = terminal.getvalue()
    assert NAME in shown
    assert "100%" in shown
    assert "4.00k/4.00k" in shown
    assert "B/s" in shown
