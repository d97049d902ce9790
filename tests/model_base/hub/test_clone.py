"""A folder that is pushed to again and again, while others change the repository."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model_base import BertConfig, HubConflict, HubUnavailable
from model_base.hub.clone import MANIFEST, Clone, check_names
from model_base.hub.repository import WritableRepository
from tests.hub.standin import Hub, Repository

Small = Callable[..., BertConfig]
THEIRS = {"README.md": b"theirs", "x/large.bin": b"large"}


@pytest.fixture
def folder(hub: Hub, small: Small, tmp_path: Path) -> Path:
    """Of a configuration that was pushed, beside files of others."""
    hub.add("owner/mine", THEIRS)
    folder = tmp_path / "mine"
    small().push_to_hub(folder)
    return folder


@pytest.fixture
def repository(hub: Hub, folder: Path) -> Repository:
    return hub.repositories["owner/mine"]


def change(repository: Repository, **files: bytes | None) -> None:
    """A commit of somebody else; a dot in a name is written as ``__``."""
    left = {**repository.head.files}
    for name, content in files.items():
        name = name.replace("__", ".")
        if content is None:
            del left[name]
        else:
            left[name] = content
    repository.commit(left, "theirs")


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_others_did_comes_with_the_next_push(
    folder: Path, repository: Repository, small: Small, hub: Hub
) -> None:
    hub.page = 2
    assert names_in(folder) == {"config.json", MANIFEST}
    change(repository, new__txt=b"new")
    small(hidden_act="relu").push_to_hub(folder)
    wanted = {"config.json", MANIFEST, ".gitattributes", "new.txt", *THEIRS}
    assert names_in(folder) == wanted
    assert (folder / "x/large.bin").read_bytes() == b"large"
    change(repository, new__txt=None, README__md=b"changed")
    small(hidden_act="silu").push_to_hub(folder)
    assert names_in(folder) == wanted - {"new.txt"}
    assert (folder / "README.md").read_bytes() == b"changed"
    assert json.loads(repository.head.files["config.json"])["hidden_act"] == "silu"
    assert repository.messages[:2] == ["add config", "theirs"]


def test_what_was_edited_here_stays_and_a_clash_is_refused_by_name(
    folder: Path, repository: Repository, small: Small
) -> None:
    change(repository, notes__txt=b"1", other__txt=b"1")
    small().push_to_hub(folder)
    (folder / "notes.txt").write_bytes(b"mine")
    change(repository, other__txt=b"2")
    small(hidden_act="relu").push_to_hub(folder)
    assert (folder / "notes.txt").read_bytes() == b"mine"
    assert (folder / "other.txt").read_bytes() == b"2"
    change(repository, notes__txt=b"theirs", other__txt=b"3")
    before = {name: (folder / name).read_bytes() for name in names_in(folder)}
    head = repository.head.sha
    with pytest.raises(HubConflict, match=r"notes\.txt changed on both sides"):
        small(hidden_act="silu").push_to_hub(folder)
    assert {name: (folder / name).read_bytes() for name in names_in(folder)} == before
    assert repository.head.sha == head
    (folder / "notes.txt").write_bytes(b"theirs")
    small(hidden_act="silu").push_to_hub(folder)
    assert (folder / "other.txt").read_bytes() == b"3"


def test_a_file_that_was_edited_here_and_removed_there_is_a_clash(
    folder: Path, repository: Repository, small: Small
) -> None:
    (folder / "config.json").write_text("{}")
    change(repository, config__json=None)
    with pytest.raises(HubConflict, match=r"config\.json changed on both sides"):
        small().push_to_hub(folder)
    assert (folder / "config.json").read_text() == "{}"


def test_a_pull_that_was_killed_is_completed(
    folder: Path, repository: Repository, small: Small, hub: Hub
) -> None:
    change(repository, one__txt=b"1", two__txt=b"2")
    (folder / ".pulling-left").mkdir()
    (folder / "one.txt").write_bytes(b"1")  # in place, and the manifest is the old one
    Clone(folder, WritableRepository.open("owner/mine", token=True)).pull()
    assert (folder / "two.txt").read_bytes() == b"2"
    assert not list(folder.glob(".pulling-*"))
    hub.corrupt = True
    change(repository, one__txt=b"changed", two__txt=b"3")
    with pytest.raises(HubUnavailable, match="does not have the hash"):
        small().push_to_hub(folder)
    hub.corrupt = False
    assert (folder / "one.txt").read_bytes() == b"1"
    small().push_to_hub(folder)
    assert (folder / "one.txt").read_bytes() == b"changed"


def test_a_folder_of_another_repository_is_no_clone(folder: Path, small: Small, hub: Hub) -> None:
    other = hub.add("owner/other", {"config.json": b"{}", "theirs.txt": b"1"})
    small().push_to_hub(folder, repo_url="owner/other")
    assert "theirs.txt" not in names_in(folder)
    assert other.messages == ["add config", "first"]
    (folder / MANIFEST).write_text("[]")
    small(hidden_act="relu").push_to_hub(folder)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\b", "C:x", "", "a\0"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(HubUnavailable, match="no name of one"):
        check_names(["config.json", name])


def test_names_that_differ_in_case_alone_are_refused() -> None:
    check_names(["a/b", "a/c", "A.txt"])
    with pytest.raises(HubUnavailable, match=r"'a\.txt' and 'A\.txt'"):
        check_names(["a.txt", "A.txt"])
