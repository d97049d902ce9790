"""What of a folder goes to a repository, from a job or from the command line."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from model_base.checkpoints import FLAX_MSGPACK, SAFETENSORS, TF_H5, TORCH_BIN
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint
from model_base.hub.files import Folder
from model_base.hub.progress import Progress
from model_base.hub.repository import WritableRepository
from model_base.loading.resolve import KINDS, resolve_any

_WRITTEN_AS = {SAFETENSORS: "safetensors", TORCH_BIN: "bin", FLAX_MSGPACK: "flax", TF_H5: "tf"}


def push_folder(
    folder: Path,
    repository: WritableRepository,
    message: str | None,
    max_shard_size: int | str | None = None,
    progress: Progress | None = None,
) -> str:
    """Make the files of a repository those of a folder, in one commit; others in it stay.

    Weights that those of the folder replace, whole ones or other shards, are removed.

    Args:
        folder: of a model.
        repository: as it is now.
        message: of the commit; None is ``add model``.
        max_shard_size: most bytes of a weight file, or text such as ``"512MiB"``; None leaves the
            files as they are.
        progress: told of the bytes; None shows a bar.

    Returns:
        The address of the commit.

    Raises:
        HubConflict: somebody else has changed the same files meanwhile.
        HubUnavailable: the hub refused or cannot be reached.
        ModelBaseError: the weights cannot be divided.
        ValueError: ``max_shard_size`` is not a size.
        OSError: a file cannot be read, or there is no room for the new shards.
    """
    with _in_shards(folder, max_shard_size) as ready:
        names = files_to_push(ready)
        stale = _replaced(repository.files, names)
        return repository.commit(ready, names, message or "add model", stale, progress)


def files_to_push(folder: Path) -> list[str]:
    """Names of a folder's files; what begins with a dot is nobody's business.

    Raises:
        UnsafeCheckpoint: a file of the hub's cache leads out of its repository.
    """
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    if folder.parent.name == "snapshots":
        home = folder.parents[1].resolve()
        for name in shown:
            if not (folder / name).resolve().is_relative_to(home):
                raise UnsafeCheckpoint(f"{name} of {home.name} is a link out of the cache")
    return [name.as_posix() for name in shown]


def _replaced(present: Iterable[str], written: Iterable[str]) -> list[str]:
    """Weights in a repository that would be loaded in the place, or beside, of the new ones."""
    new = set(written)
    kinds = [kind for kind in KINDS if any(map(kind.has, new))]
    return [name for name in present if name not in new and any(k.has(name) for k in kinds)]


@contextlib.contextmanager
def _in_shards(folder: Path, max_shard_size: int | str | None) -> Iterator[Path]:
    """The folder, or one that has its weights in shards of another size and else the same."""
    if max_shard_size is None:
        yield folder
        return
    from service.conversion import NotConvertible, convert  # takes a second

    form = resolve_any(Folder(folder)).format
    if form not in _WRITTEN_AS:
        raise CheckpointUnreadable("max_shard_size: its weights are of a format without shards")
    kind = next(kind for kind in KINDS if kind.format is form)
    with tempfile.TemporaryDirectory(prefix="model-base-push-") as scratch:
        ready = Path(scratch) / "model"
        try:
            convert(folder, ready, _WRITTEN_AS[form], max_shard_size, lambda done, total: None)
        except NotConvertible as error:
            raise CheckpointUnreadable(f"max_shard_size: {error}") from error
        for name in files_to_push(folder):
            if not (ready / name).exists() and not kind.has(name):
                (ready / name).parent.mkdir(parents=True, exist_ok=True)
                (ready / name).symlink_to((folder / name).resolve())
        yield ready
