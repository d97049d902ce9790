"""``model-base convert``: a model folder in another weight format.

Between formats of weights no framework is imported: what is stored is read piece by piece, renamed
and written. Keras' h5 and SavedModels are written by the TensorFlow stack.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model_base import constants
from model_base.auto import AutoConfig, stored_model
from model_base.checkpoints import FLAX_MSGPACK, SAFETENSORS, TORCH_BIN
from model_base.checkpoints.base import Array, CheckpointFormat
from model_base.conversion.conventions import to_flax_name
from model_base.conversion.rules import Recipes
from model_base.errors import ModelBaseError
from model_base.hub.files import Folder
from model_base.loading.resolve import KINDS, resolve_any
from model_base.loading.source import Source, open_source, rules_of
from model_base.saving import SCRATCH, all_or_nothing, write_shards

Progress = Callable[[int, int], None]
"""``(bytes_done, bytes_total) -> None``, called after each tensor."""

_WEIGHTS: dict[str, tuple[CheckpointFormat, str, dict[str, str]]] = {
    "safetensors": (SAFETENSORS, constants.SAFE_WEIGHTS_NAME, {"format": "pt"}),
    "bin": (TORCH_BIN, constants.WEIGHTS_NAME, {}),
    "flax": (FLAX_MSGPACK, constants.FLAX_WEIGHTS_NAME, {}),
}
_WEIGHT_SUFFIXES = tuple({kind.format.suffix for kind in KINDS} | {".data-00000-of-00001"})
_MAX_COPIED = 200 * 2**20


class NotConvertible(ValueError):
    """Raised when a folder cannot be converted; the text says why."""


def convert(
    source: Path, target: Path, to: str, max_shard_size: int | str, progress: Progress
) -> None:
    """Write the model of ``source`` into ``target``, a new or empty folder.

    Settings and tokenizer files come along. One shard is in memory at a time.

    Args:
        source: a model folder.
        target: made if need be; of a SavedModel, the folder of its version ``1``.
        to: ``safetensors``, ``bin``, ``flax``, ``tf`` or ``saved-model``.
        max_shard_size: bytes, or text such as ``"512MiB"``.
        progress: told the bytes.

    Raises:
        NotConvertible: no such folder, nothing that can be read, or the target is not empty.
        OSError: the disk is full or cannot be written; nothing is left behind.
    """
    if not source.is_dir():
        raise NotConvertible(f"{source} is not a folder")
    if target.exists() and (not target.is_dir() or not all(map(_is_left_over, target.iterdir()))):
        raise NotConvertible(f"{target} exists and is not an empty folder")
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        shutil.rmtree(path)
    try:
        with all_or_nothing(target, lambda name: False) as scratch:
            if to in _WEIGHTS:
                _write_weights(source, scratch, to, max_shard_size, progress)
            else:
                _write_by_tensorflow(source, scratch, to, max_shard_size, progress)
            for path in _settings_of(source):
                if not (scratch / path.name).exists():
                    shutil.copyfile(path, scratch / path.name)
    except ModelBaseError as error:
        raise NotConvertible(str(error)) from error
    finally:
        if made and not any(target.iterdir()):
            target.rmdir()


def _is_left_over(path: Path) -> bool:
    """Whether a conversion that was killed left it."""
    return path.is_dir() and path.name.startswith(SCRATCH)


def _settings_of(folder: Path) -> Iterator[Path]:
    """Files that are neither weights nor too large to be anything else."""
    for path in folder.iterdir():
        is_weights = path.name.endswith((*_WEIGHT_SUFFIXES, ".meta")) or ".index" in path.name
        if path.is_file() and not is_weights and path.stat().st_size <= _MAX_COPIED:
            yield path


def _write_weights(
    source: Path, target: Path, to: str, max_shard_size: int | str, progress: Progress
) -> None:
    config = AutoConfig.from_pretrained(source)
    form, whole, metadata = _WEIGHTS[to]
    with open_source(resolve_any(Folder(source)), rules_of(type(config))) as opened:
        infos = opened.checkpoint.infos
        recipes = _as_flax(opened) if to == "flax" else opened.recipes
        sizes = {n: sum(infos[s].num_bytes for s in r.sources) for n, r in recipes.items()}
        done, total = 0, sum(sizes.values())

        def read(name: str) -> Array:
            nonlocal done
            done += sizes[name]
            progress(done, total)
            return recipes[name].apply(opened.checkpoint.read)

        def write(path: Path, names: Sequence[str]) -> None:
            form.write(path, _Lazy(names, read), metadata)

        write_shards(target, whole, sizes, max_shard_size, write)


def _as_flax(source: Source) -> Recipes:
    """The recipes by Flax' names, in its layouts."""
    shapes = {name: info.shape for name, info in source.checkpoint.infos.items()}
    spelled: Recipes = {}
    for name, recipe in source.recipes.items():
        flax_name, op = to_flax_name(name, recipe.shape(shapes), source.recipes)
        spelled[flax_name] = recipe.then(op) if op else recipe
    return spelled


class _Lazy(Mapping[str, Array]):
    """Arrays that are read when they are asked for."""

    def __init__(self, names: Sequence[str], read: Callable[[str], Array]) -> None:
        self._names = names
        self._read = read

    def __getitem__(self, name: str) -> Array:
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _write_by_tensorflow(
    source: Path, target: Path, to: str, max_shard_size: int | str, progress: Progress
) -> None:
    config = AutoConfig.from_pretrained(source)
    files = resolve_any(Folder(source))
    flag = next(kind.flag for kind in KINDS if kind.format is files.format)
    try:
        _, kind = stored_model(config, "tensorflow")
    except ImportError as error:
        raise NotConvertible(str(error)) from error
    flags: dict[str, Any] = {flag: True} if flag else {}
    progress(0, files.num_bytes)
    config.torch_dtype = "float32"  # whatever the files have
    model, info = kind.from_pretrained(source, config=config, output_loading_info=True, **flags)
    if missing := info["missing_keys"]:
        raise NotConvertible(f"{len(missing)} weights are not in the files, such as {missing[0]}")
    progress(files.num_bytes // 2, files.num_bytes)
    if to == "tf":
        model.save_pretrained(target, max_shard_size=max_shard_size)
    else:
        model.export_saved_model(target / "1")
    progress(files.num_bytes, files.num_bytes)
