"""A hub that lies: nothing that it says is taken for a path, a length of wait or a place to go."""

from pathlib import Path
from typing import Any

import pytest

from model_base import BertConfig, HubUnavailable
from model_base.hub.files import model_files
from model_base.hub.repository import WritableRepository
from model_base.hub.transport import MAX_UNTOLD_BYTES
from tests.hub.standin import Hub

NAME = "owner/model"
CONTENT = bytes(range(256)) * 64


@pytest.fixture
def repository(hub: Hub) -> Any:
    return hub.add(NAME, {"config.json": b"{}", "model.safetensors": CONTENT})


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


LIES = [
    ("X-Linked-Etag", '"../../../outside"'),
    ("X-Linked-Etag", '"/etc/hostname"'),
    ("X-Linked-Etag", '".."'),
    ("X-Linked-Etag", f'"{"a" * 300}"'),
    ("X-Repo-Commit", "../../../outside"),
    ("X-Repo-Commit", "main"),
    ("X-Repo-Commit", "A" * 40),
    ("X-Linked-Size", "-5"),
    ("X-Linked-Size", "9" * 30),
    ("X-Linked-Size", "many"),
]


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        *(("config.json", *lie) for lie in LIES),
        *(("model.safetensors", *lie) for lie in LIES),
        *(("missing.json", *lie) for lie in LIES if lie[0] == "X-Repo-Commit"),
    ],
)
def test_what_is_no_commit_hash_or_size_is_refused_and_leaves_nothing(
    name: str, header: str, value: str, hub: Hub, repository: Any, tmp_path: Path
) -> None:
    hub.headers = {header: value}
    with pytest.raises(HubUnavailable, match=f"{header} is .* accepted") as raised:
        model_files(NAME).find(name)
    assert raised.value.reason == "damaged"
    assert contents(tmp_path) <= {"hub-cache"}


def test_a_file_without_a_hash_keeps_its_name_in_the_cache(hub: Hub, repository: Any) -> None:
    """Other servers than the real hub have ETags of their own kind."""
    hub.headers = {"ETag": 'W/"5f-18c2a.x_1"'}
    path = model_files(NAME).find("config.json")
    assert path is not None
    assert path.resolve().name == "5f-18c2a.x_1"


def test_an_answer_that_is_no_file_may_have_any_etag(hub: Hub, repository: Any) -> None:
    """The real hub's refusals come with those of its web server."""
    hub.headers = {"ETag": 'W/"c-ab+/=="'}
    assert model_files(NAME).find("missing.json") is None


@pytest.mark.parametrize("etag", ["", '"5f-18c2a"'])
def test_a_large_file_may_come_without_its_length_but_not_without_end(
    etag: str, hub: Hub, repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_base.hub.guard.MAX_UNTOLD_BYTES", 1000)
    hub.headers = {"X-Linked-Etag": etag} if etag else {}
    hub.is_chunked = True
    path = model_files(NAME).find("model.safetensors")
    assert path is not None
    assert path.read_bytes() == CONTENT
    hub.headers = {"X-Linked-Etag": etag or f'"{"a" * 64}"', "X-Linked-Size": "1000"}
    with pytest.raises(HubUnavailable, match="more than the 1000 bytes that it announced"):
        model_files(NAME, force_download=True).find("model.safetensors")


def test_the_token_goes_to_the_hub_alone(hub: Hub, repository: Any, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(CONTENT)
    hub.verify_at = f"{hub.elsewhere}/api/verify"
    opened = WritableRepository.open(NAME)
    opened.commit(tmp_path, ["model.bin"], "one more")
    hub.next_page = f"{hub.elsewhere}/api/models/{NAME}/tree/main"
    assert "model.bin" in opened.contents("main")
    assert hub.tokens_elsewhere == []
    assert len(hub.uploads) == 1


def test_a_wait_that_the_hub_asks_for_is_no_longer_than_a_minute(
    hub: Hub, repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    hub.failures = {"GET": [429]}
    hub.failure_headers = {"Retry-After": "1000000000"}
    assert model_files(NAME).find("config.json") is not None
    hub.failures = {"GET": [429]}
    hub.failure_headers = {"RateLimit": '"api";r=0;t=1000000000'}
    assert model_files(NAME).find("model.safetensors") is not None
    assert 0 < max(waits) <= 61


def test_what_the_hub_wants_to_be_logged_is_not(
    hub: Hub, repository: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hub.headers = {"X-HF-Warning": "topic; say this"}
    BertConfig.from_pretrained(NAME)
    assert "say this" not in caplog.text


def test_a_hub_that_does_not_answer_is_given_up(
    hub: Hub, repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """huggingface_hub waits for ever for the answer to a commit."""
    monkeypatch.setattr("model_base.hub.guard._TIMEOUT_S", 0.5)
    (tmp_path / "notes.txt").write_text("x")
    opened = WritableRepository.open(NAME)
    hub.before_commit = hub.go_on.wait
    with pytest.raises(HubUnavailable, match="timed out"):
        opened.commit(tmp_path, ["notes.txt"], "one")
    hub.go_on.set()


def test_an_endless_answer_is_cut(hub: Hub, repository: Any) -> None:
    hub.is_endless = True
    opened = WritableRepository.open(NAME)
    with pytest.raises(HubUnavailable, match=f"more than {MAX_UNTOLD_BYTES} bytes"):
        opened.contents("main")


def test_a_file_that_comes_a_few_bytes_a_minute_is_given_up(
    hub: Hub, repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_base.hub.guard._SLOW_FOR_S", 0.0)
    monkeypatch.setattr("model_base.hub.guard._SLOW_BYTES_S", 10**12)
    with pytest.raises(HubUnavailable, match="less than 1000000000000 bytes a second") as raised:
        model_files(NAME).find("model.safetensors")
    assert raised.value.reason == "slow"


def test_an_endless_list_is_cut(hub: Hub, repository: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.next_page = f"{hub.url}/api/models/{NAME}/tree/main"
    monkeypatch.setattr("model_base.hub.repository.MAX_FILES", 100)
    with pytest.raises(HubUnavailable, match="more than 100 files"):
        WritableRepository.open(NAME).contents("main")


def test_a_file_whose_size_is_not_told_is_bounded_and_had_once(
    hub: Hub, repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.headers = {"X-Linked-Size": ""}
    path = model_files(NAME).find("model.safetensors")
    assert path is not None
    assert path.read_bytes() == CONTENT
    path.resolve().unlink()
    monkeypatch.setattr("model_base.hub.resuming.MAX_UNTOLD_BYTES", len(CONTENT) - 1)
    hub.sent.clear()
    with pytest.raises(HubUnavailable, match="without telling how many"):
        model_files(NAME).find("model.safetensors")
    assert len(hub.sent) == 1
    hub.headers = {"X-Linked-Size": "", "X-Linked-Etag": '"5f-18c2a"'}
    with pytest.raises(HubUnavailable, match="gives no hash or size of model.safetensors"):
        model_files(NAME).find("model.safetensors")


@pytest.mark.parametrize("name", ["..\\..\\x.json", "C:x.json", "../x.json", "/etc/passwd"])
def test_a_name_that_leads_out_of_the_repository_is_refused(
    name: str, hub: Hub, repository: Any
) -> None:
    with pytest.raises(HubUnavailable, match="no name of one"):
        model_files(NAME, revision=repository.head.sha).find(name)


def test_shards_whose_names_are_one_on_some_disks_are_refused(hub: Hub, repository: Any) -> None:
    with pytest.raises(HubUnavailable, match="one on a disk that ignores case"):
        model_files(NAME).find_all(["a.safetensors", "A.safetensors"])


def test_a_name_of_the_repository_that_was_not_asked_for_is_refused(
    hub: Hub, repository: Any
) -> None:
    hub.add("stranger/model", {})
    hub.renamed = {NAME: "owner/other"}
    with pytest.raises(HubUnavailable, match="'owner/model' is now 'owner/other'"):
        WritableRepository.open(NAME)


def test_a_commit_is_told_by_its_hash_at_the_hubs_address(
    hub: Hub, repository: Any, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    hub.told_commit = {"commitUrl": f"{hub.url}/{NAME}/commit/hf_secret"}
    url = WritableRepository.open(NAME).commit(tmp_path, ["notes.txt"], "one")
    assert url == f"{hub.url}/{NAME}/commit/{repository.head.sha}"
    (tmp_path / "notes.txt").write_text("y")
    hub.told_commit = {"commitOid": "hf_secret"}
    with pytest.raises(HubUnavailable, match="names no commit"):
        WritableRepository.open(NAME).commit(tmp_path, ["notes.txt"], "two")
