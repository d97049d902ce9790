import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service.repository.download import HubFailed, download
from service.repository.sources import Source
from tests.hub.standin import Hub, running

CONFIG, WEIGHTS = b'{"model_type": "bert"}', b"weights"
SOURCE = Source(repo_id="owner/name", revision="main")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    """A hub that takes connections and never answers, unless the test does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield listener


async def fetched(source: Source) -> Path:
    return await download(source, None, lambda transfer: None)


async def first_request(hub: socket.socket) -> socket.socket:
    return (await asyncio.wait_for(asyncio.to_thread(hub.accept), 30))[0]


def test_a_download_that_is_cancelled_ends_at_once(hub: socket.socket) -> None:
    async def test() -> None:
        task = asyncio.create_task(fetched(SOURCE))
        with await first_request(hub):
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.cancelled()
        assert psutil.Process().children() == []

    asyncio.run(test())


def test_a_hub_that_refuses_is_told_without_its_words(hub: socket.socket) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status = b"HTTP/1.1 404 no /srv/secret\r\n"
        writer.write(status + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def test() -> None:
        async with await asyncio.start_server(refuse, sock=hub):
            with pytest.raises(HubFailed) as caught:
                await asyncio.wait_for(fetched(SOURCE), 60)
        reason = "cannot get modules.json of 'owner/name'"
        assert str(caught.value) == f"cannot download owner/name: {reason}"
        assert psutil.Process().children() == []

    asyncio.run(test())


def test_a_download_whose_process_dies_is_a_failure(hub: socket.socket) -> None:
    async def test() -> None:
        task = asyncio.create_task(fetched(SOURCE))
        with await first_request(hub):
            psutil.Process().children()[0].kill()
            with pytest.raises(HubFailed, match="its process ended"):
                await asyncio.wait_for(task, 10)

    asyncio.run(test())


def test_a_hub_that_says_nothing_is_given_up(
    hub: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.repository.download._STALLED_S", {"pull": 0.01})

    async def test() -> None:
        with pytest.raises(HubFailed, match=r"the hub has sent nothing for 0\.01 s") as caught:
            await asyncio.wait_for(fetched(SOURCE), 30)
        assert caught.value.reason == "stalled"
        assert psutil.Process().children() == []

    asyncio.run(test())


def test_what_the_process_says_besides_is_logged_on_lines_of_ours_without_the_token(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    says = "import sys; sys.stderr.write('Bearer hf_secret\\r\\x1b[31mready\\n' + 'x\\n' * 999)"
    command = [sys.executable, "-c", says]
    monkeypatch.setattr("service.repository.download.module_command", lambda *_: command)

    async def test() -> None:
        with pytest.raises(HubFailed, match="its process ended"):
            await download(SOURCE, "hf_secret", lambda transfer: None)

    asyncio.run(test())
    first, *others = [record.getMessage() for record in caplog.records]
    assert first == r"pull of owner/name: Bearer (token)\r\x1b[31mready"
    assert set(others) == {"pull of owner/name: x"}
    assert len(others) < 500


@pytest.fixture
def full_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the downloading process asks."""
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield hub


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "preferred",
    [
        {"model.safetensors"},
        {"model.ckpt.index", "model.ckpt.data-00000-of-00001"},
    ],
)
def test_what_is_loaded_of_a_model_is_fetched_and_nothing_else(
    full_hub: Hub, preferred: set[str]
) -> None:
    wanted = {"config.json", "tokenizer.json", "chat_template.jinja", *preferred}
    others = {"README.md", "onnx/model.onnx"}
    if "model.safetensors" in preferred:
        others |= {"pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"}
    contents = dict.fromkeys(wanted | others, WEIGHTS) | {"config.json": CONFIG}
    full_hub.add("owner/name", contents)
    assert names_in(asyncio.run(fetched(Source(repo_id="owner/name")))) == wanted


def test_a_sentence_transformers_model_may_lie_in_a_folder(full_hub: Hub) -> None:
    names = {
        "config_sentence_transformers.json", "0_Transformer/config.json",
        "0_Transformer/model.safetensors", "0_Transformer/sentence_bert_config.json",
        "0_Transformer/vocab.txt", "1_Pooling/config.json",
    }  # fmt: skip
    modules = [{"path": "0_Transformer"}, {"path": "1_Pooling"}, {"path": "../1_Other"}]
    files = dict.fromkeys(names, b"{}") | {"modules.json": json.dumps(modules).encode()}
    full_hub.add("owner/name", {**files, "1_Pooling/README.md": b""})
    assert names_in(asyncio.run(fetched(Source(repo_id="owner/name")))) == files.keys()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Source(repo_id="owner/absent"), "is neither a local folder nor a model on the hub"),
        (Source(repo_id="owner/name", revision="v9"), "'owner/name' has no revision 'v9'"),
        (Source(repo_id="owner/name"), "owner/name has no config.json"),
    ],
)
def test_what_the_hub_has_not_is_told_in_a_sentence(
    full_hub: Hub, source: Source, reason: str
) -> None:
    full_hub.add("owner/name", {})
    with pytest.raises(HubFailed, match=reason) as caught:
        asyncio.run(fetched(source))
    assert "Error" not in str(caught.value)
