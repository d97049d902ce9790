"""Where a model's files come from; the hub itself is replaced."""

import contextlib
import errno
import traceback
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub import errors as hub

from model_base.errors import HubUnavailable
from model_base.hub.files import Folder, HubRepository, file_at, model_files


def test_a_folder_comes_before_a_name_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    files = model_files(tmp_path)
    assert files.label == str(tmp_path)
    assert files.find("config.json") == tmp_path / "config.json"
    assert files.find("absent") is None


@pytest.mark.parametrize("name", ["bert", "owner/bert-base_1.0", "0/0"])
def test_a_possible_name_is_one_on_the_hub(name: str) -> None:
    assert model_files(name, revision="main", token="t") == HubRepository(
        name, "main", {"token": "t"}
    )


@pytest.mark.parametrize(
    "name",
    ["", "a/b/c", "../up", "/absent/folder", "https://h/m", "a b", "./absent", "-x", "a\n", "a/.."],
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(HubUnavailable, match="is not a folder here"):
        model_files(name)


def answer(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub"))


def caused_by(status: int) -> Exception:
    error = hub.LocalEntryNotFoundError("x")
    error.__cause__ = hub.HfHubHTTPError(f"{status} oops", response=answer(status))
    return error


CASES = [
    (caused_by(403), "the hub refused the token"),
    (caused_by(503), "503 oops"),
    (hub.OfflineModeIsEnabled("x"), "offline mode is on"),
    (hub.RepositoryNotFoundError("x", response=answer(404)), "neither a local folder nor a model"),
    (hub.GatedRepoError("x", response=answer(403)), "is gated"),
    (hub.RevisionNotFoundError("x", response=answer(404)), "has no revision 'v9'"),
    (hub.LocalEntryNotFoundError("x"), "cannot reach the hub"),
    (hub.HfHubHTTPError("500 oops", response=answer(500)), "500 oops"),
    (httpx.ConnectError("no route"), "no route"),
    (OSError("disk"), "disk"),
]


@pytest.mark.parametrize(("error", "text"), CASES, ids=lambda case: type(case).__name__)
def test_each_failure_of_the_hub_has_its_own_words(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(HubUnavailable, match=text) as caught:
        HubRepository("owner/model", "v9").find("config.json")
    assert "owner/model" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (hub.RemoteEntryNotFoundError("x", response=answer(404)), {}),
        (hub.LocalEntryNotFoundError("x"), {"local_files_only": True}),
    ],
)
def test_a_file_that_is_not_there_is_none(
    error: Exception, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "models--m" / "snapshots").mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def fail(*args: Any, **kwargs: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    assert HubRepository("m", None, options).find("config.json") is None


def test_a_commit_in_the_cache_is_returned_without_waiting_for_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "0" * 40
    path = tmp_path / "models--m" / "snapshots" / commit / "config.json"
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr("model_base.hub.files.transport", None)
    for revision, local in ((commit, False), (commit, True)):
        files = model_files("m", revision=revision, cache_dir=tmp_path, local_files_only=local)
        assert files.find("config.json") == path


@pytest.mark.parametrize(
    "revision",
    ["main/../../../../OUT", "", "/main", "-x", "a\0b", "a b", "..", ".", "a//b", 5, "x" * 300],
)
def test_a_revision_that_is_no_ref_is_refused(revision: Any) -> None:
    with pytest.raises(ValueError, match="revision is .*; accepted: a branch"):
        model_files("owner/model", revision=revision)


@pytest.mark.parametrize("revision", ["main", "refs/pr/1", "v1.0", "feature/a-b", "0" * 40, None])
def test_a_branch_a_tag_and_a_commit_are_revisions(revision: str | None) -> None:
    assert model_files("owner/model", revision=revision).label == "owner/model"


@pytest.mark.parametrize("token", ["hf_SECRET\x01", "hf_SECRET x", "hf_SECRETé", "", b"hf_SECRET"])
def test_a_token_that_no_header_holds_is_refused_unseen(token: Any) -> None:
    with pytest.raises(ValueError, match="the token is not one") as caught:
        model_files("owner/model", token=token)
    assert "SECRET" not in str(caught.value)
    stripped = model_files("owner/model", token="hf_x\n")
    assert isinstance(stripped, HubRepository)
    assert stripped.options["token"] == "hf_x"


def test_a_refused_header_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> str:
        raise httpx.LocalProtocolError("Illegal header value b'Bearer hf_SECRET'")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(HubUnavailable) as caught:
        HubRepository("owner/model").find("config.json")
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


def test_a_full_disk_is_not_the_hubs_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        HubRepository("owner/model").find("config.json")
    assert not isinstance(caught.value, HubUnavailable)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "."])
def test_what_the_system_refuses_is_no_file(name: str) -> None:
    assert file_at(name) is None
    if name != ".":
        with contextlib.suppress(HubUnavailable):
            model_files(name)


def test_a_prefix_means_its_index(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").touch()
    assert file_at(tmp_path / "model.ckpt") == tmp_path / "model.ckpt.index"
    assert file_at(tmp_path / "model.ckpt.index") == tmp_path / "model.ckpt.index"


def test_a_token_is_not_shown() -> None:
    assert "hf_" not in repr(model_files("owner/model", token="hf_secret"))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "a/" * 5000])
def test_a_name_that_the_system_refuses_is_no_file(name: str, tmp_path: Path) -> None:
    assert Folder(tmp_path).find(name) is None
