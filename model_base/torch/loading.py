"""Fill a model from a checkpoint: the only place of the torch stack that moves bytes.

Source: transformers 4.19.2, ``PreTrainedModel.from_pretrained``, ``load_sharded_checkpoint``.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_base import constants
from model_base.checkpoints.base import Checkpoint, Loaded, TensorInfo
from model_base.checkpoints.sharding import ShardedCheckpoint
from model_base.checkpoints.torch_bin import from_numpy, to_numpy
from model_base.conversion.conventions import torch_names
from model_base.conversion.rules import LEGACY, Recipes, Rule
from model_base.errors import CheckpointMismatch
from model_base.hub.files import Folder, file_at, model_files
from model_base.loading.match import Match, Wanted, canonical, match
from model_base.loading.report import LoadReport
from model_base.loading.resolve import (
    KINDS,
    WeightFiles,
    Wish,
    find_kind,
    resolve_file,
    resolve_weights,
)
from model_base.torch.arrays import float_dtype, to_tensor

Groups = list[tuple[tuple[str, ...], tuple[int, ...]]]
"""Names of each tensor, several if it is tied, and its shape."""
Progress = Any
"""``(bytes_done, bytes_total) -> None``, called after each tensor."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open checkpoint and what its names mean.

    Attributes:
        recipes: what it can give, by canonical name.
        label: what messages call it.
        absent: names that its index promises and no shard holds.
        is_foreign: whether another framework wrote it.
    """

    checkpoint: Checkpoint
    recipes: Recipes
    label: str
    absent: Sequence[str] = ()
    is_foreign: bool = False


@contextlib.contextmanager
def open_source(files: WeightFiles, rules: Iterable[Rule]) -> Iterator[Source]:
    """Open weight files; they are closed when the block ends, tensors that were read stay."""
    checkpoint = files.open()
    try:
        convention = files.format.convention(checkpoint)
        recipes = canonical(checkpoint, convention, rules)
        absent = checkpoint.absent if isinstance(checkpoint, ShardedCheckpoint) else ()
        yield Source(checkpoint, recipes, files.label, absent, convention is not torch_names)
    finally:
        checkpoint.close()


def state_dict_source(state_dict: Mapping[str, Tensor], rules: Iterable[Rule]) -> Source:
    """Tensors that the caller brings, as a checkpoint; copied, since the model will own them."""
    arrays = {name: to_numpy(tensor.cpu()).copy() for name, tensor in state_dict.items()}
    checkpoint = Loaded(arrays)
    return Source(checkpoint, canonical(checkpoint, torch_names, rules), "the state dict given")


def find_weights(name_or_path: str | Path, flags: frozenset[str], **options: Any) -> WeightFiles:
    """The weight files that a name, a folder or a file's path means.

    Args:
        name_or_path: folder, hub id, or path of a weight file.
        flags: ``from_tf`` and ``from_flax``, if set.
        options: for the hub.

    Raises:
        CheckpointNotFound: there are none of the kinds asked for.
        CheckpointUnreadable: an index or a name is damaged, or the format is not read here.
    """
    wish = Wish(flags)
    if (path := file_at(name_or_path)) is not None:
        return resolve_file(path, wish)
    return resolve_weights(model_files(name_or_path, **options), wish)


def pick_dtype(
    torch_dtype: Any, config: Any, source: Source | None, name: str
) -> torch.dtype | None:
    """The dtype to build in: as asked, or for ``"auto"`` the config's, else the file's own.

    None is torch's default.

    Raises:
        ValueError: not a floating dtype.
    """
    if torch_dtype is None:
        return None
    if torch_dtype != "auto":
        return float_dtype(torch_dtype, name)
    if config.torch_dtype is not None:
        return float_dtype(config.torch_dtype, name)
    infos: Iterable[TensorInfo] = source.checkpoint.infos.values() if source else ()
    stored = next((info.dtype.name for info in infos if info.is_floating), "float32")
    return float_dtype(stored, name)


_default_dtype = threading.RLock()
"""Held while torch's default, which is the whole process's, is another."""


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    """Make ``dtype`` torch's default inside the block, one thread at a time; None keeps it."""
    with _default_dtype:
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype or before)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def tensor_groups(model: nn.Module) -> Groups:
    """Names of each tensor of the state dict (several if it is tied) and its shape."""
    names: dict[int, list[str]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
        shapes[id(tensor)] = tuple(tensor.shape)
    return [(tuple(group), shapes[key]) for key, group in names.items()]


def fill(
    model: Any,
    source: Source,
    *,
    device: torch.device | str = "cpu",
    ignore_mismatched: bool = False,
    copied: bool = False,
    progress: Progress = None,
    check: Callable[[LoadReport], None] | None = None,
) -> LoadReport:
    """Put a checkpoint's tensors into a model built on the meta device.

    What the checkpoint lacks is initialised as a new model's. Tied tensors stay tied. ``copied``
    leaves no tensor mapped to a file. ``check`` sees the report before anything is given memory;
    what it raises ends the loading.

    Raises:
        CheckpointMismatch: a stored shape is not the model's (unless ``ignore_mismatched``).
        CheckpointUnreadable: stored data are damaged.
    """
    groups = tensor_groups(model)
    found = _matched(model, groups, source, ignore_mismatched)
    if check is not None:
        check(found.report)
    slots = {names[0]: names for names, _ in groups}
    initialise(model, found.empty, slots, device)
    assign(model, found, slots, source.checkpoint, device, copied, progress)
    empty = [n for n, t in (*model.named_parameters(), *model.named_buffers()) if t.is_meta]
    assert not empty, (
        f"{type(model).__name__} computes in its constructor what it does not store: {empty}"
    )
    return found.report


def _matched(model: Any, groups: Groups, source: Source, ignore_mismatched: bool = False) -> Match:
    wanted = Wanted(
        type(model).__name__,
        groups,
        model.base_model_prefix,
        model._keys_to_ignore_on_load_missing or (),
        model._keys_to_ignore_on_load_unexpected or (),
    )
    shapes = {name: info.shape for name, info in source.checkpoint.infos.items()}
    return match(
        wanted, source.recipes, shapes, label=source.label,
        absent=source.absent, ignore_mismatched=ignore_mismatched, reshape=source.is_foreign,
    )  # fmt: skip


def assign(
    model: nn.Module,
    found: Match,
    slots: Mapping[str, Sequence[str]],
    checkpoint: Checkpoint,
    device: torch.device | str,
    copied: bool,
    progress: Progress,
) -> None:
    """Read in the order of the file, so that each shard is opened once."""
    order = {name: number for number, name in enumerate(checkpoint.infos)}
    recipes = sorted(found.recipes.items(), key=lambda item: order[item[1].sources[0]])
    total = sum(checkpoint.infos[s].num_bytes for _, r in recipes for s in r.sources)
    done = 0
    for name, recipe in recipes:
        array = recipe.apply(checkpoint.read)
        tensor = to_tensor(array, _tensor(model, name), device, copied)
        put(model, slots[name], tensor)
        if tensor.device.type != "cpu" or tensor.data_ptr() != from_numpy(array).data_ptr():
            for stored in recipe.sources:  # it was copied: the file's pages need not stay
                checkpoint.release(stored)
        done += sum(checkpoint.infos[source].num_bytes for source in recipe.sources)
        if progress is not None:
            progress(done, total)


def _tensor(model: nn.Module, name: str) -> Any:
    owner, _, attribute = name.rpartition(".")
    return getattr(model.get_submodule(owner), attribute)


def put(model: nn.Module, names: Sequence[str], tensor: Tensor) -> None:
    """Make ``tensor`` the parameter or buffer of every one of ``names``: one object, tied."""
    parameter = None
    for name in names:
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        if attribute in module._buffers:
            module._buffers[attribute] = tensor
            continue
        old = module._parameters[attribute]
        if parameter is None:
            trainable = tensor.is_floating_point() and (old is None or old.requires_grad)
            parameter = nn.Parameter(tensor, requires_grad=trainable)
        module._parameters[attribute] = parameter


def initialise(
    model: Any,
    missing: Iterable[str],
    slots: Mapping[str, Sequence[str]],
    device: torch.device | str,
) -> None:
    """Give missing tensors memory and the values that a new model would have.

    Every module that owns one is initialised as a whole, so the tensors it does have must be
    assigned afterwards. A module's own ``reset_parameters`` comes first, then the model's
    ``_init_weights``; bare parameters that neither knows are zeros.
    """
    owners: dict[str, Any] = {}
    for name in missing:
        for slot in slots[name]:
            owner = re.sub(r"\.?[^.]+$", "", slot)
            owners[owner] = model.get_submodule(owner)
    by_slot = {slot: names for names in slots.values() for slot in names}
    for owner, module in owners.items():
        for attribute, tensor in (*module._parameters.items(), *module._buffers.items()):
            slot = f"{owner}.{attribute}" if owner else attribute
            if tensor is not None and tensor.is_meta and slot in by_slot:
                put(model, by_slot[slot], torch.zeros_like(tensor, device=device))
    with torch.no_grad():
        for module in owners.values():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            model._init_weights(module)


def load_tf_weights(model: Any, config: Any, tf_checkpoint_path: str | Path) -> Any:
    """Copy a TensorFlow 1 checkpoint into an existing model; what it lacks stays as it is.

    Args:
        model: of a class of ours; its dtype and device are kept.
        config: its configuration, whose ``weight_rules`` say what the stored names mean.
        tf_checkpoint_path: without ``.index``.

    Returns:
        The model.

    Raises:
        CheckpointUnreadable: a file is absent or damaged.
        CheckpointMismatch: stored shapes are not the model's.
    """
    files = resolve_file(Path(f"{tf_checkpoint_path}.index"), Wish(frozenset({"from_tf"})))
    with open_source(files, (*LEGACY, *config.weight_rules)) as source:
        found = _matched(model, tensor_groups(model), source)
        with torch.no_grad():
            for name, recipe in found.recipes.items():
                own = _tensor(model, name)
                own.copy_(to_tensor(recipe.apply(source.checkpoint.read), own, "cpu"))
    found.report.log(type(model).__name__, source.label)
    return model


def load_sharded_checkpoint(model: nn.Module, folder: str | Path, strict: bool = True) -> Any:
    """Load shards with an index into an existing model, one shard in memory at a time.

    Args:
        model: any module; its dtype and device are kept, nothing is tied.
        folder: holds ``model.safetensors.index.json`` or ``pytorch_model.bin.index.json``.
        strict: refuse missing and unexpected names before anything is read.

    Returns:
        torch's named tuple ``(missing_keys, unexpected_keys)``.

    Raises:
        ValueError: no index in the folder.
        RuntimeError: names (strict) or shapes do not fit.
        CheckpointUnreadable: the index or a shard is damaged.
    """
    files = _indexed(Path(folder))
    with open_source(files, ()) as source:
        own = model.state_dict(keep_vars=True)
        stored = {*source.recipes, *source.absent}
        missing = sorted(
            name for names, _ in tensor_groups(model) if stored.isdisjoint(names) for name in names
        )
        unexpected = sorted(stored - set(own))
        if strict and (missing or unexpected):
            raise CheckpointMismatch(
                f"Error(s) in loading state_dict for {type(model).__name__} from {folder}:"
                + _listed("Missing key(s)", missing) + _listed("Unexpected key(s)", unexpected)
            )  # fmt: skip
        _copy_all(own, source, type(model).__name__)
    return torch.nn.modules.module._IncompatibleKeys(missing, unexpected)


def _indexed(folder: Path) -> WeightFiles:
    for kind in KINDS:
        if not kind.flag and (folder / kind.index).is_file():
            found = find_kind(_OnlyIndex(folder), kind)
            if found is not None:
                return found
    names = ", ".join(kind.index for kind in KINDS if not kind.flag)
    raise ValueError(f"{folder} has no checkpoint index ({names})")


class _OnlyIndex(Folder):
    """A folder whose whole files do not count."""

    def find(self, name: str) -> Path | None:
        whole = (constants.WEIGHTS_NAME, constants.SAFE_WEIGHTS_NAME)
        return None if name in whole else Folder.find(self, name)


def _listed(title: str, names: list[str]) -> str:
    return f"\n\t{title}: " + ", ".join(f'"{name}"' for name in names) + "." if names else ""


def _copy_all(own: Mapping[str, Tensor], source: Source, class_name: str) -> None:
    infos = source.checkpoint.infos
    report = LoadReport()
    shared = {name: recipe for name, recipe in source.recipes.items() if name in own}
    for name, recipe in shared.items():
        stored = recipe.shape({s: infos[s].shape for s in recipe.sources})
        if stored != tuple(own[name].shape):
            report.mismatched.append((name, stored, tuple(own[name].shape)))
    if report.mismatched:
        lines = [f"\n\tsize mismatch for {n}: {s} != {w}" for n, s, w in report.mismatched]
        raise CheckpointMismatch(
            f"Error(s) in loading state_dict for {class_name}:" + "".join(lines)
        )
    with torch.no_grad():
        for name, recipe in shared.items():
            array = recipe.apply(source.checkpoint.read)
            own[name].copy_(to_tensor(array, own[name], "cpu"))
