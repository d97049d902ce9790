import os
from pathlib import Path

import pytest

from service.core.errors import BadRequest
from service.repository import sources as sources_module
from service.repository.sources import Source, Sources


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A model folder with ``m`` and ``owner/name`` in it, and something outside it."""
    for name in ("models/m", "models/owner/name", "outside", "models2/n", "models-evil/x"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


@pytest.fixture
def sources(root: Path) -> Sources:
    return Sources((root / "models", root / "models2"), (), hub=True)


@pytest.mark.parametrize("source", ["m", "owner/name", "./m", "m/", "m/."])
def test_a_folder_inside_a_model_folder_is_found(sources: Sources, root: Path, source: str) -> None:
    assert sources.find(source) == Source((root / "models" / source).resolve())


def test_every_model_folder_is_looked_through(sources: Sources, root: Path) -> None:
    assert sources.find("n") == Source(root / "models2" / "n")


def test_an_absolute_path_is_taken_only_inside(sources: Sources, root: Path) -> None:
    assert sources.find(str(root / "models" / "m")).folder == root / "models" / "m"
    for outside in (root / "outside", root, root / "models-evil" / "x", Path("/etc")):
        with pytest.raises(BadRequest, match="is not there"):
            sources.find(str(outside))


def test_whether_something_is_there_outside_is_not_told(sources: Sources, root: Path) -> None:
    messages = []
    for path in (root / "outside", root / "nowhere"):
        with pytest.raises(BadRequest) as refused:
            sources.find(str(path))
        messages.append(refused.value.message.replace(str(path), ""))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "source",
    [
        "../outside", "m/../../outside", "..", "m/..", "owner/name@../x", "owner/name@a/../b",
        "http://host/m", "file:///etc", "s3://bucket/m", "hf://owner/name",
        "m\x00", "\x00", "", "m\n", "\ud800", "x" * 300, "a/" * 3000 + "b", "~/m", "C:\\m",
        "nowhere", "-/name", "owner/-name", "owner/name@", "owner/name@-x", "owner/náme",
    ],
)  # fmt: skip
def test_anything_else_is_refused(sources: Sources, source: str) -> None:
    with pytest.raises(BadRequest):
        sources.find(source)


@pytest.mark.parametrize("link", ["absolute", "relative", "chain"])
def test_a_link_out_of_the_model_folders_is_not_followed(
    sources: Sources, root: Path, link: str
) -> None:
    path = root / "models" / "link"
    if link == "chain":
        (root / "models" / "middle").symlink_to("../outside")
        path.symlink_to("middle")
    else:
        path.symlink_to(root / "outside" if link == "absolute" else "../outside")
    with pytest.raises(BadRequest, match="is not there"):
        sources.find("link")
    with pytest.raises(BadRequest):
        sources.find("link/.")


@pytest.mark.parametrize("name", ["model.safetensors", "1_Pooling"])
@pytest.mark.parametrize("is_relative", [True, False])
def test_a_file_or_folder_in_it_that_leads_out_is_refused_by_name(
    sources: Sources, root: Path, name: str, is_relative: bool
) -> None:
    target = Path("../../outside") if is_relative else root / "outside"
    (root / "models" / "m" / name).symlink_to(target)
    with pytest.raises(BadRequest, match=f"'{name}', a link out of the model folders"):
        sources.find("m")


def test_a_link_deeper_down_is_found(sources: Sources, root: Path) -> None:
    deep = root / "models" / "m" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").symlink_to(root / "outside" / "config.json")
    with pytest.raises(BadRequest, match="'file'"):
        sources.find("m")


def test_a_link_that_leads_nowhere_outside_is_refused_too(sources: Sources, root: Path) -> None:
    (root / "models" / "m" / "later").symlink_to(root / "not yet there")
    with pytest.raises(BadRequest, match="'later'"):
        sources.find("m")


def test_links_inside_are_followed_as_the_hubs_cache_needs(sources: Sources, root: Path) -> None:
    models = root / "models"
    (models / "blobs").mkdir()
    (models / "blobs" / "abc").write_text("weights")
    (models / "m" / "model.safetensors").symlink_to("../blobs/abc")
    (models / "alias").symlink_to("m")
    assert sources.find("m").folder == models / "m"
    assert sources.find("alias").folder == models / "m"  # the real one: a link may be changed


def test_what_the_operator_chose_may_lie_anywhere(root: Path) -> None:
    (root / "outside" / "weights").symlink_to("/dev/null")
    sources = Sources((), (root / "outside",), hub=False)
    assert sources.find(str(root / "outside")).folder == root / "outside"
    with pytest.raises(BadRequest):
        sources.find(str(root / "models" / "m"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", ("all-MiniLM-L6-v2", None)),
        ("a/b@main", ("b", "main")),
        ("a/b@refs/pr/1", ("b", "refs/pr/1")),
        ("a/b@v1.0_rc-2", ("b", "v1.0_rc-2")),
    ],
)
def test_a_hub_id_is_told_from_a_folder(
    sources: Sources, source: str, expected: tuple[str, str | None]
) -> None:
    found = sources.find(source)
    assert found.folder is None
    assert (found.repo_id.partition("/")[2], found.revision) == expected


def test_a_folder_wins_over_a_hub_id_and_the_hub_can_be_off(root: Path) -> None:
    sources = Sources((root / "models",), (), hub=False)
    assert sources.find("owner/name").folder
    with pytest.raises(BadRequest, match="setting hub is off"):
        sources.find("other/name")


def test_a_link_that_leads_to_itself_is_refused_by_name(sources: Sources, root: Path) -> None:
    (root / "models" / "m" / "loop").symlink_to("pool")
    (root / "models" / "m" / "pool").symlink_to("loop")
    with pytest.raises(BadRequest, match=r"'(loop|pool)', which cannot be used: a link that"):
        sources.find("m")
    (root / "models" / "round").symlink_to("round")
    with pytest.raises(BadRequest, match="is not there"):
        sources.find("round")


def test_a_folder_that_cannot_be_listed_is_refused_by_name(
    sources: Sources, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        with pytest.raises(BadRequest, match="'m', which cannot be used: Perm") as caught:
            sources.find("m")
    assert str(root) not in caught.value.message


@pytest.mark.parametrize(("limit", "is_found"), [(4, True), (3, False)])
def test_a_folder_of_too_many_files_is_refused_with_the_limit(
    sources: Sources, root: Path, monkeypatch: pytest.MonkeyPatch, limit: int, is_found: bool
) -> None:
    monkeypatch.setattr(sources_module, "MAX_ENTRIES", limit)
    (root / "models" / "m" / "deep").mkdir()
    for name in ("a", "b"):
        (root / "models" / "m" / "deep" / name).touch()
    if is_found:
        assert sources.find("m").folder
        return
    with pytest.raises(BadRequest, match="more than 3 files and folders"):
        sources.find("m")


def test_what_was_pulled_is_known_as_long_as_it_is_there(tmp_path: Path) -> None:
    sources, commit = Sources((), (), hub=True), "c" * 40
    folder = tmp_path / "snapshot"
    folder.mkdir()
    sources.note_pulled("owner/name", commit, folder)
    assert sources.pulled(sources.find(f"owner/name@{commit}")) == folder
    for other in ("owner/name", "owner/name@main", f"owner/other@{commit}"):
        assert sources.pulled(sources.find(other)) is None
    folder.rmdir()
    assert sources.pulled(sources.find(f"owner/name@{commit}")) is None
