"""The stand-in is a hub to huggingface_hub's own calls."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub import errors as raised

from tests.hub.standin import STRANGERS_TOKEN, TOKEN, Hub


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=TOKEN)


def test_repositories_are_made_changed_listed_and_deleted(hub: Hub, api: HfApi) -> None:
    assert api.whoami()["name"] == "owner"
    assert api.create_repo("owner/new", private=True).repo_id == "owner/new"
    api.upload_file(path_or_fileobj=b"abc", path_in_repo="a/b.txt", repo_id="owner/new")
    assert api.list_repo_files("owner/new") == [".gitattributes", "a/b.txt"]
    assert [f.path for f in api.list_repo_tree("owner/new")] == [".gitattributes", "a/b.txt"]
    api.delete_file("a/b.txt", "owner/new")
    assert api.list_repo_files("owner/new") == [".gitattributes"]
    api.create_branch("owner/new", branch="other")
    assert [ref.name for ref in api.list_repo_refs("owner/new").branches] == ["main", "other"]
    api.delete_repo("owner/new")
    assert hub.repositories == {}


def test_a_list_of_files_comes_in_pages(hub: Hub, api: HfApi) -> None:
    hub.add("owner/m", {f"{n}.txt": b"x" for n in range(7)})
    hub.page = 3
    assert len(list(api.list_repo_tree("owner/m", recursive=True))) == 8


def test_a_tag_stays_where_it_was_put(hub: Hub, api: HfApi) -> None:
    repository = hub.add("owner/m", {"a.txt": b"old"})
    first = repository.head.sha
    api.create_tag("owner/m", tag="v1")
    repository.commit({"a.txt": b"new"}, "second")
    (tag,) = api.list_repo_refs("owner/m").tags
    assert (tag.name, tag.target_commit) == ("v1", first)
    path = api.hf_hub_download("owner/m", "a.txt", revision="v1")
    assert Path(path).read_bytes() == b"old"


def test_what_comes_over_a_slow_link_is_whole(hub: Hub, api: HfApi) -> None:
    hub.add("owner/m", {"a.bin": b"abcdefgh" * 1000})
    hub.bytes_per_second = 40_000
    path = api.hf_hub_download("owner/m", "a.bin")
    assert Path(path).read_bytes() == b"abcdefgh" * 1000


@pytest.mark.parametrize("parts", [None, 400])
def test_large_files_go_by_lfs_and_come_back(
    parts: int | None, hub: Hub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.parts = parts
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    api.create_repo("owner/new")
    content = {"a.bin": b"a" * 1000, "b.safetensors": b"b" * 1000, "c.json": b"{}"}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    api.upload_folder(folder_path=tmp_path, repo_id="owner/new", allow_patterns=list(content))
    assert len(hub.uploads) == 2
    folder = Path(api.snapshot_download("owner/new"))
    assert {n: (folder / n).read_bytes() for n in content} == content
    assert hub.tokens_elsewhere == []


def test_refusals_are_those_of_a_hub(hub: Hub, api: HfApi) -> None:
    repository = hub.add("owner/m", {"a.txt": b"a"}, private=True)
    with pytest.raises(raised.RepositoryNotFoundError):
        api.model_info("owner/m", token=STRANGERS_TOKEN)
    with pytest.raises(raised.RevisionNotFoundError):
        api.model_info("owner/m", revision="v9")
    with pytest.raises(raised.RemoteEntryNotFoundError):
        api.hf_hub_download("owner/m", "absent.txt")
    repository.private, repository.gated = False, True
    with pytest.raises(raised.GatedRepoError):
        api.hf_hub_download("owner/m", "a.txt", token=STRANGERS_TOKEN)
    with pytest.raises(raised.HfHubHTTPError, match="412"):
        api.upload_file(
            path_or_fileobj=b"b", path_in_repo="a.txt", repo_id="owner/m", parent_commit="0" * 40
        )
