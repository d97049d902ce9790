"""Find the weight files of a model, on disk or on the hub, in the order users rely on.

Source: transformers 4.19.2, ``PreTrainedModel.from_pretrained`` (lookup order); safetensors
before ``.bin``, whole or sharded, as every later version has it.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_base import constants as names
from model_base.checkpoints import (
    FLAX_MSGPACK,
    SAFETENSORS,
    TF_CHECKPOINT,
    TF_H5,
    TORCH_BIN,
    format_of,
)
from model_base.checkpoints.base import Checkpoint, CheckpointFormat
from model_base.checkpoints.sharding import Index, ShardedCheckpoint, read_index
from model_base.errors import CheckpointNotFound, CheckpointUnreadable
from model_base.hub.files import Folder, ModelFiles, file_at, model_files


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of weights: its format and the names of the whole file and of the index.

    Attributes:
        index: empty if there are no shards with an index of ours.
        writer: the framework that writes it, ``pt``, ``tf1`` (TensorFlow 1), ``tf`` or ``flax``;
            empty if all do.
        beside: files that the whole one needs.
    """

    format: CheckpointFormat
    whole: str
    index: str
    writer: str
    beside: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The argument of ``from_pretrained`` that asks another stack for it."""
        return f"from_{self.writer.removesuffix('1')}" if self.writer else ""

    def has(self, name: str) -> bool:
        """Whether a file of this name is of this kind: whole, a shard, or an index."""
        stem, _, suffix = map(re.escape, self.whole.rpartition("."))
        pattern = rf"{stem}(-\d+-of-\d+)?\.{suffix}(\.index\.json)?"
        return name in self.beside or re.fullmatch(pattern, name) is not None


_MAX_LISTED = 5
_MAX_SHOWN = 100
"""Names in a message, and characters of one: an index may name thousands."""

KINDS = (
    Kind(SAFETENSORS, names.SAFE_WEIGHTS_NAME, names.SAFE_WEIGHTS_INDEX_NAME, ""),
    Kind(TORCH_BIN, names.WEIGHTS_NAME, names.WEIGHTS_INDEX_NAME, "pt"),
    Kind(TF_CHECKPOINT, names.TF_WEIGHTS_INDEX_NAME, "", "tf1", (names.TF_WEIGHTS_DATA_NAME,)),
    Kind(TF_H5, names.TF2_WEIGHTS_NAME, names.TF2_WEIGHTS_INDEX_NAME, "tf"),
    Kind(FLAX_MSGPACK, names.FLAX_WEIGHTS_NAME, names.FLAX_WEIGHTS_INDEX_NAME, "flax"),
)


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files to read.

    Attributes:
        index: None for a whole file.
        label: what messages call them.
    """

    format: CheckpointFormat
    paths: list[Path]
    label: str
    index: Index | None = None

    def open(self) -> Checkpoint:
        """Open them as one checkpoint.

        Raises:
            CheckpointUnreadable: a file is damaged or not what its name says.
        """
        if self.index is None:
            return self.format.open(self.paths[0])
        return ShardedCheckpoint(self.format, self.paths, self.index)

    @property
    def num_bytes(self) -> int:
        """Size of the files on disk."""
        return sum(path.stat().st_size for path in self.paths)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which kinds a stack takes: its own, and others only if asked for by flag.

    Attributes:
        stack: ``pt``, ``tf`` or ``flax``.
        flags: the arguments ``from_pt``, ``from_tf``, ``from_flax`` that are set.
    """

    stack: str
    flags: frozenset[str] = field(default_factory=frozenset)

    def takes(self, kind: Kind) -> bool:
        """Whether a kind may be loaded."""
        return kind.writer in ("", self.stack) or kind.flag in self.flags

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """In the order they are looked for: what is asked for by flag before our own.

        TensorFlow looks for its own files before those that any framework may have written.
        """
        flagged = [kind for kind in KINDS if kind.flag in self.flags]
        ours = [kind for kind in KINDS if self.stack == "tf" == kind.writer]
        return tuple(dict.fromkeys([*flagged, *ours, *filter(self.takes, KINDS)]))


def resolve_weights(files: ModelFiles, wish: Wish) -> WeightFiles:
    """Find a model's weights.

    Raises:
        CheckpointNotFound: none of the kinds wished for; the message says what there is.
        CheckpointUnreadable: an index is damaged, or a shard that it names is absent.
    """
    for kind in wish.kinds:
        if found := find_kind(files, kind):
            return found
    raise _not_found(files, wish)


def resolve_any(files: ModelFiles) -> WeightFiles:
    """Find a model's weights whatever framework wrote them, in the order of ``KINDS``.

    Raises:
        CheckpointNotFound: there are none.
        CheckpointUnreadable: an index is damaged, or a shard that it names is absent.
    """
    for kind in KINDS:
        if found := find_kind(files, kind):
            return found
    raise _not_found(files, Wish("pt", frozenset(kind.flag for kind in KINDS)))


def resolve_file(path: Path, wish: Wish) -> WeightFiles:
    """The weights in one file that the caller names itself.

    Raises:
        CheckpointNotFound: the file is of a kind that was not wished for.
    """
    kind = next((k for k in KINDS if k.format is format_of(path)), None)
    if kind is not None and not wish.takes(kind):
        raise CheckpointNotFound(f"{path} was written by another framework: set {kind.flag}=True")
    return WeightFiles(format_of(path), [path], str(path))


def find_weights(name_or_path: str | Path, wish: Wish, **options: Any) -> WeightFiles:
    """The weight files that a name, a folder or a file's path means.

    Args:
        name_or_path: folder, hub id, or path of a weight file.
        wish: which kinds.
        options: for the hub.

    Raises:
        CheckpointNotFound: there are none of the kinds asked for.
        CheckpointUnreadable: an index or a name is damaged, or the format is not read here.
    """
    if (path := file_at(name_or_path)) is not None:
        return resolve_file(path, wish)
    return resolve_weights(model_files(name_or_path, **options), wish)


def find_kind(files: ModelFiles, kind: Kind) -> WeightFiles | None:
    """The weights of one kind, or None.

    Raises:
        CheckpointUnreadable: the index is damaged, or a shard that it names is absent.
    """
    if (path := files.find(kind.whole)) is not None:
        for name in kind.beside:
            files.find(name)
        return WeightFiles(kind.format, [path], files.label)
    if not kind.index or (path := files.find(kind.index)) is None:
        return None
    index = read_index(path)
    shards = files.find_all(index.files)
    if absent := [name for name, shard in shards.items() if shard is None]:
        raise CheckpointUnreadable(
            f"{kind.index} of {files.label} names {_listed(absent)}, which is not there"
        )
    paths = [shard for shard in shards.values() if shard is not None]
    return WeightFiles(kind.format, paths, files.label, index)


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:_MAX_SHOWN] for name in names[:_MAX_LISTED])
    left = len(names) - _MAX_LISTED
    return f"{shown} and {left} more" if left > 0 else shown


def _not_found(files: ModelFiles, wish: Wish) -> CheckpointNotFound:
    for kind in KINDS:
        if wish.takes(kind):
            continue
        if found := find_kind(files, kind):
            name = kind.index if found.index else kind.whole
            return CheckpointNotFound(
                f"{files.label} has {name}, written by another framework, and no weights "
                f"of this one: set {kind.flag}=True to load it"
            )
    wanted = [name for kind in wish.kinds for name in (kind.whole, kind.index) if name]
    held = ""
    if isinstance(files, Folder):
        held = f"; it holds {sorted(p.name for p in files.path.iterdir())[:20]}"
        if any(files.path.glob("saved_model.pb")) or any(files.path.glob("*/saved_model.pb")):
            held += (
                ". It is a SavedModel: a graph, which the service runs (framework saved_model) and "
                "no class loads or converts"
            )
    return CheckpointNotFound(f"{files.label} has none of {', '.join(wanted)}{held}")
