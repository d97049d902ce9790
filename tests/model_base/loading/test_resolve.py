"""Which of a folder's weight files are read."""

from pathlib import Path

import pytest

from model_base import constants as names
from model_base.checkpoints.sharding import Index, write_index
from model_base.errors import CheckpointNotFound, CheckpointUnreadable
from model_base.hub.files import Folder
from model_base.loading.resolve import Wish, resolve_any, resolve_file, resolve_weights

OURS = [
    names.SAFE_WEIGHTS_NAME,
    names.SAFE_WEIGHTS_INDEX_NAME,
    names.WEIGHTS_NAME,
    names.WEIGHTS_INDEX_NAME,
]
TF, FLAX = names.TF2_WEIGHTS_NAME, names.FLAX_WEIGHTS_NAME


def folder(path: Path, files: list[str]) -> Folder:
    """A folder with those files; an index names one shard, which is there."""
    for name in files:
        if name.endswith(".index.json"):
            shard = f"{name}.shard"
            write_index(path / name, Index({"a": shard}, {}))
            (path / shard).touch()
        else:
            (path / name).touch()
    return Folder(path)


def chosen(path: Path, files: list[str], *flags: str) -> str:
    found = resolve_weights(folder(path, files), Wish("pt", frozenset(flags)))
    return found.paths[0].name.removesuffix(".shard")


@pytest.mark.parametrize("first", range(4))
def test_safetensors_come_before_bin_and_whole_files_before_shards(
    first: int, tmp_path: Path
) -> None:
    assert chosen(tmp_path, OURS[first:]) == OURS[first]


@pytest.mark.parametrize(
    ("flags", "taken"),
    [((), OURS[0]), (("from_tf",), TF), (("from_flax",), FLAX), (("from_tf", "from_flax"), TF)],
)
def test_another_framework_s_weights_are_read_only_if_asked_for(
    flags: tuple[str, ...], taken: str, tmp_path: Path
) -> None:
    assert chosen(tmp_path, [*OURS, TF, FLAX], *flags) == taken


def test_a_flag_falls_back_to_our_own_weights(tmp_path: Path) -> None:
    assert chosen(tmp_path, [names.WEIGHTS_NAME], "from_tf") == names.WEIGHTS_NAME


@pytest.mark.parametrize(("file", "flag"), [(TF, "from_tf"), (FLAX, "from_flax")])
def test_the_flag_for_what_is_there_is_named(file: str, flag: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=f"has {file}.*set {flag}=True"):
        resolve_weights(folder(tmp_path, [file]), Wish("pt"))


@pytest.mark.parametrize(
    ("index", "flag"),
    [(names.TF2_WEIGHTS_INDEX_NAME, "from_tf"), (names.FLAX_WEIGHTS_INDEX_NAME, "from_flax")],
)
def test_shards_of_another_framework_are_named_by_their_index(
    index: str, flag: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointNotFound, match=rf"has {index}, .*set {flag}=True"):
        resolve_weights(folder(tmp_path, [index]), Wish("pt"))


def test_a_folder_without_weights_is_told_what_was_looked_for_and_what_is_there(
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointNotFound, match=r"model\.safetensors.*it holds \['notes\.txt'\]"):
        resolve_weights(folder(tmp_path, ["notes.txt"]), Wish("pt"))


@pytest.mark.parametrize("file", [*OURS, TF, FLAX])
def test_any_framework_s_weights_can_be_found_without_flags(file: str, tmp_path: Path) -> None:
    assert len(resolve_any(folder(tmp_path, [file])).paths) == 1


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    files = folder(tmp_path, [names.WEIGHTS_INDEX_NAME])
    (tmp_path / f"{names.WEIGHTS_INDEX_NAME}.shard").unlink()
    with pytest.raises(CheckpointUnreadable, match=r"names pytorch_model.*\.shard, which is not"):
        resolve_weights(files, Wish("pt"))


@pytest.mark.parametrize(("file", "flag"), [(TF, "from_tf"), (FLAX, "from_flax")])
def test_a_file_of_another_framework_needs_its_flag(file: str, flag: str, tmp_path: Path) -> None:
    (tmp_path / file).touch()
    with pytest.raises(CheckpointNotFound, match=f"set {flag}=True"):
        resolve_file(tmp_path / file, Wish("pt"))
    assert resolve_file(tmp_path / file, Wish("pt", frozenset([flag]))).paths == [tmp_path / file]


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    (tmp_path / names.WEIGHTS_NAME).write_bytes(b"12345")
    assert resolve_weights(Folder(tmp_path), Wish("pt")).num_bytes == 5


def test_of_many_missing_shards_only_the_first_are_named(tmp_path: Path) -> None:
    shards = {str(i): f"shard-{i:03}-" + "x" * 300 for i in range(400)}
    write_index(tmp_path / names.WEIGHTS_INDEX_NAME, Index(shards, {}))
    with pytest.raises(CheckpointUnreadable, match=r"shard-004-x* and 395 more") as refused:
        resolve_any(Folder(tmp_path))
    assert "shard-005" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_what_was_looked_for_is_listed_once(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound) as refused:
        resolve_any(Folder(tmp_path))
    listed = str(refused.value).partition("none of ")[2].partition(";")[0].split(", ")
    assert len(listed) == len(set(listed)) == 9


@pytest.mark.parametrize("other", ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"])
def test_whoever_asks_for_any_gets_safetensors_first(other: str, tmp_path: Path) -> None:
    files = folder(tmp_path, ["model.safetensors", other])
    assert [path.name for path in resolve_any(files).paths] == ["model.safetensors"]
