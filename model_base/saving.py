"""Writing the files of a folder completely or not at all, weights whole or in shards.

Source: transformers 4.19.2, ``shard_checkpoint`` (names and index).
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from model_base.checkpoints.sharding import Index, plan_shards, shard_name, write_index

SCRATCH = ".saving-"
"""How the names of folders begin that are written into; one is left only by a killed process."""


@contextlib.contextmanager
def all_or_nothing(folder: Path, is_replaced: Callable[[str], bool]) -> Iterator[Path]:
    """A folder to write into; what is in it is moved to ``folder`` on success, else removed.

    A folder in it joins the one of its name: entries of other names stay.

    Args:
        folder: where the files shall be.
        is_replaced: whether a file of this name is of an earlier save: it is removed on success
            unless it was written anew.
    """
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as scratch_name:
        scratch = Path(scratch_name)
        yield scratch
        written = {path.name for path in scratch.iterdir()}
        for name in sorted(written, key=lambda name: (scratch / name).is_file()):
            _move(scratch / name, folder / name)
        for path in folder.iterdir():
            if path.is_file() and path.name not in written and is_replaced(path.name):
                path.unlink()


def _move(path: Path, target: Path) -> None:
    """A file in the place of another; of a folder each entry, in the place of the one there."""
    if path.is_file() or not target.is_dir():
        path.replace(target)
        return
    for entry in list(path.iterdir()):
        if (target / entry.name).exists():
            (target / entry.name).replace(path / f".old-{entry.name}")  # removed with the scratch
        entry.replace(target / entry.name)


def write_shards(
    folder: Path,
    whole: str,
    sizes: Mapping[str, int],
    max_shard_size: int | str,
    write: Callable[[Path, Sequence[str]], None],
) -> None:
    """Write tensors to one file, or to several with an index.

    Args:
        folder: where.
        whole: name of the one file.
        sizes: bytes of each tensor, in the order they are written.
        max_shard_size: bytes, or text such as ``"512MiB"``.
        write: writes the tensors of the names given to a path.

    Raises:
        ValueError: ``max_shard_size`` is not a size.
    """
    shards = plan_shards(sizes, max_shard_size)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = whole if len(shards) == 1 else shard_name(whole, number, len(shards))
        weight_map.update(dict.fromkeys(names, file))
        write(folder / file, names)
    if len(shards) > 1:
        index = Index(weight_map, {"total_size": sum(sizes.values())})
        write_index(folder / f"{whole}.index.json", index)
