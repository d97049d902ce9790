"""One download: with which token, from which commit, and beside others; against the stand-in."""

import threading
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from model_base import HubUnavailable
from model_base.hub import resuming
from model_base.hub.files import HubRepository, ModelFiles, model_files, pop_hub_options
from tests.hub.proxy import forwarding
from tests.hub.standin import STRANGERS_TOKEN, TOKEN, Hub, Repository

NAME = "owner/model"
CONTENT = bytes(range(256)) * 64


@pytest.fixture
def repository(hub: Hub) -> Repository:
    return hub.add(NAME, {"config.json": b"{}", "model.safetensors": CONTENT, "x/y.txt": b"1"})


def read(files: ModelFiles, name: str) -> bytes:
    path = files.find(name)
    assert path is not None
    return path.read_bytes()


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, TOKEN),
        ({"use_auth_token": True}, TOKEN),
        ({"use_auth_token": False}, None),
        ({"token": STRANGERS_TOKEN, "use_auth_token": "hf_wrong"}, STRANGERS_TOKEN),
        ({"token": False, "use_auth_token": TOKEN}, None),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_the_token_that_is_sent_is_the_one_asked_for(
    asked: dict[str, Any], sent: str | None, name: str, hub: Hub, repository: Repository
) -> None:
    read(model_files(NAME, **pop_hub_options({**asked})), name)
    assert set(hub.tokens) == {sent and f"Bearer {sent}"}
    assert hub.tokens_elsewhere == []


@pytest.mark.parametrize(
    ("asked", "sent"),
    [({}, None), ({"use_auth_token": STRANGERS_TOKEN}, STRANGERS_TOKEN), ({"token": True}, TOKEN)],
)
def test_a_mirror_gets_a_token_only_if_one_is_asked_for(
    asked: dict[str, Any], sent: str | None, hub: Hub, repository: Repository
) -> None:
    options = pop_hub_options({"mirror": hub.url, **asked})
    read(model_files(NAME, **options), "model.safetensors")
    assert set(hub.tokens) == {sent and f"Bearer {sent}"}


@pytest.mark.parametrize("first", ["config.json", "x/y.txt"])
def test_all_files_are_of_the_commit_of_the_first(
    first: str, hub: Hub, repository: Repository
) -> None:
    commit, files = repository.head.sha, model_files(NAME)
    assert files.find("absent") is None
    read(files, first)
    repository.commit({"config.json": b"[]", "model.safetensors": b"new", "late": b""}, "meanwhile")
    assert read(files, "model.safetensors") == CONTENT
    assert files.find("late") is None
    assert isinstance(files, HubRepository)
    assert files.revision == commit
    assert read(model_files(NAME), "model.safetensors") == b"new"


def test_what_a_commit_lacks_is_asked_for_once(hub: Hub, repository: Repository) -> None:
    commit = repository.head.sha
    assert model_files(NAME, revision=commit).find("absent") is None
    hub.tokens.clear()
    assert model_files(NAME, revision=commit).find("absent") is None
    assert hub.tokens == []
    assert model_files(NAME, revision=commit, force_download=True).find("absent") is None
    assert len(hub.tokens) > 0


def test_a_hub_that_is_down_leaves_what_the_cache_knows(
    hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    names = ["absent", "config.json", "absent too"]
    before = model_files(NAME).find_all(names)
    hub.failures = {"HEAD": [503] * 99}
    assert model_files(NAME).find_all(names) == before
    with pytest.raises(HubUnavailable, match="cannot get never asked for"):
        model_files(NAME).find("never asked for")


def test_two_that_want_the_same_file_download_it_once(
    hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, both = huggingface_hub.get_hf_file_metadata, threading.Barrier(2)

    def asked_by_both(*args: Any, **kwargs: Any) -> Any:
        answer = ask(*args, **kwargs)
        both.wait(30)
        return answer

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", asked_by_both)
    read_by: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: read_by.append(read(model_files(NAME), "model.safetensors")), daemon=True
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert read_by == [CONTENT, CONTENT]
    assert len(hub.sent) == 1


def test_of_several_beginnings_the_longest_is_continued(
    hub: Hub, repository: Repository, tmp_path: Path
) -> None:
    files = model_files(NAME, cache_dir=tmp_path, resume_download=True)
    path = files.find("model.safetensors")
    assert path is not None
    blob = path.resolve()
    path.unlink()
    blob.unlink()
    for name, size in {"a.": 10, "b.": 1000, "": 100}.items():
        blob.with_name(f"{blob.name}.{name}incomplete").write_bytes(CONTENT[:size])
    assert read(files, "model.safetensors") == CONTENT
    assert hub.sent[-1] == (blob.name, 1000, len(CONTENT) - 1000)
    assert list(blob.parent.iterdir()) == [blob]


def test_what_is_too_large_for_http_is_left_to_huggingface_hub(
    hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "MAX_HTTP_DOWNLOAD_SIZE", 10)
    monkeypatch.setattr(resuming, "_append", None)
    with pytest.raises(HubUnavailable, match="too large"):
        model_files(NAME, resume_download=True).find("model.safetensors")
    assert hub.sent == []


def test_a_large_file_goes_through_the_proxy_from_either_origin(
    hub: Hub, repository: Repository
) -> None:
    with forwarding() as (proxy, asked):
        files = model_files(NAME, proxies={"http": proxy}, token=TOKEN)
        assert read(files, "model.safetensors") == CONTENT
    for origin in (hub.url, hub.url.replace("127.0.0.1", "localhost")):
        assert any(url.startswith(origin) for url in asked)
    assert [sent for _, *sent in hub.sent] == [[0, len(CONTENT)]]
    assert hub.tokens_elsewhere == []


def test_a_cache_of_ones_own_is_read_offline(
    hub: Hub, repository: Repository, tmp_path: Path
) -> None:
    own = {"cache_dir": tmp_path / "own"}
    assert read(model_files(NAME, **own), "config.json") == b"{}"
    asked = len(hub.tokens)
    offline = model_files(NAME, local_files_only=True, **own)
    assert read(offline, "config.json") == b"{}"
    assert model_files(NAME, local_files_only=True, **own).find("model.safetensors") is None
    with pytest.raises(HubUnavailable, match="is not in the cache"):
        model_files(NAME, local_files_only=True).find("config.json")
    assert len(hub.tokens) == asked
