"""Where a model's files come from; the hub itself is replaced."""

from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub import errors as hub

from model_base.errors import HubUnavailable
from model_base.hub.files import Folder, HubRepository, model_files


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


def test_the_file_in_the_cache_is_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def download(*args: Any, **kwargs: Any) -> str:
        asked.append((args, kwargs))
        return str(tmp_path / "config.json")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert HubRepository("m", "v1", {"token": "t"}).find("config.json") == tmp_path / "config.json"
    assert asked == [(("m", "config.json"), {"revision": "v1", "token": "t"})]


def test_a_token_is_not_shown() -> None:
    assert "hf_" not in repr(model_files("owner/model", token="hf_secret"))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "a/" * 5000])
def test_a_name_that_the_system_refuses_is_no_file(name: str, tmp_path: Path) -> None:
    assert Folder(tmp_path).find(name) is None
