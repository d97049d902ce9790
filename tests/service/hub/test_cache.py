"""The hub's cache on this machine, on days when it is in a bad state."""

from pathlib import Path
from typing import Any

import pytest

from service.core.errors import Conflict
from service.hub.cache import cached, delete

NAME, COMMIT = "owner/model", "c" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--owner--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    return tmp_path


def test_a_file_in_its_place_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = cache / "models--owner--model" / "refs" / "main"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place))
    for look in (lambda: cached([]), lambda: delete(NAME, None, [])):
        with pytest.raises(Conflict, match="cannot be read: it is no folder"):
            look()


def test_files_that_go_while_it_is_read_do_not_matter(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    scan, going = huggingface_hub.scan_cache_dir, [FileNotFoundError(2, "No such file")] * 2

    def scan_while_others_write(folder: str) -> Any:
        if going:
            raise going.pop()
        return scan(folder)

    monkeypatch.setattr("huggingface_hub.scan_cache_dir", scan_while_others_write)
    assert [each.repo_id for each in cached([])] == [NAME]
    going[:] = [FileNotFoundError(2, "No such file")] * 99
    with pytest.raises(Conflict, match="cannot be read: No such file"):
        cached([])


def test_what_cannot_be_deleted_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(Conflict, match="'owner/model' cannot be deleted: Read-only file system"):
        delete(NAME, None, [])


def test_what_is_served_is_not_deleted(cache: Path) -> None:
    served = [("mine", cache / "models--owner--model" / "snapshots" / COMMIT)]
    assert [each.served_as for each in cached(served)] == [["mine"]]
    for revision in (None, "main", COMMIT):
        with pytest.raises(Conflict, match="'owner/model' is served as 'mine'"):
            delete(NAME, revision, served)
    assert delete(NAME, "main", [("other", cache)]) == 2
