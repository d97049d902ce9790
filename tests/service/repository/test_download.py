import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.repository.download import HubFailed, download
from service.repository.sources import Source

SOURCE = Source(repo_id="owner/name", revision="main")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    """A hub that takes connections and never answers, unless the test does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield listener


async def first_request(hub: socket.socket) -> socket.socket:
    return (await asyncio.wait_for(asyncio.to_thread(hub.accept), 30))[0]


def test_a_download_that_is_cancelled_ends_at_once(hub: socket.socket) -> None:
    async def test() -> None:
        task = asyncio.create_task(download(SOURCE))
        with await first_request(hub):
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.cancelled()
        assert psutil.Process().children() == []

    asyncio.run(test())


def test_a_hub_that_refuses_is_told_without_its_words(hub: socket.socket) -> None:
    async def test() -> None:
        task = asyncio.create_task(download(SOURCE))
        refusal = b"HTTP/1.1 404 no /srv/secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        with await first_request(hub) as connection:
            connection.sendall(refusal)
        hub.close()
        with pytest.raises(HubFailed, match=r"^cannot download owner/name: \w+$"):
            await asyncio.wait_for(task, 60)
        assert psutil.Process().children() == []

    asyncio.run(test())


def test_a_download_whose_process_dies_is_a_failure(hub: socket.socket) -> None:
    async def test() -> None:
        task = asyncio.create_task(download(SOURCE))
        with await first_request(hub):
            psutil.Process().children()[0].kill()
            with pytest.raises(HubFailed, match="its process ended"):
                await asyncio.wait_for(task, 10)

    asyncio.run(test())
