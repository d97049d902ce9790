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


def test_large_files_go_by_lfs_and_come_back(
    hub: Hub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
