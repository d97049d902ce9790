"""Fill a model from a checkpoint: the only place of the torch stack that moves bytes.

Source: transformers 4.19.2, ``PreTrainedModel.from_pretrained``, ``load_sharded_checkpoint``.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_base import constants
from model_base.checkpoints.base import Checkpoint, Loaded, TensorInfo
from model_base.checkpoints.torch_bin import to_numpy
from model_base.conversion.conventions import torch_names
from model_base.conversion.rules import Rule
from model_base.errors import CheckpointMismatch
from model_base.hub.files import Folder
from model_base.loading.match import Match, canonical
from model_base.loading.report import LoadReport
from model_base.loading.resolve import (
    WeightFiles,
    Wish,
    find_kind,
    resolve_file,
)
from model_base.loading.source import Groups, Source, matched, open_source, rules_of
from model_base.torch.arrays import float_dtype, to_tensor

Progress = Any
"""``(bytes_done, bytes_total) -> None``, called after each tensor."""


def state_dict_source(state_dict: Mapping[str, Tensor], rules: Iterable[Rule]) -> Source:
    """Tensors that the caller brings, as a checkpoint; copied, since the model will own them."""
    arrays = {name: to_numpy(tensor.cpu()).copy() for name, tensor in state_dict.items()}
    checkpoint = Loaded(arrays)
    return Source(checkpoint, canonical(checkpoint, torch_names, rules), "the state dict given")


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
    found = matched(model, groups, source, ignore_mismatched)
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
        if tensor.device.type != "cpu" or tensor.data_ptr() != array.ctypes.data:
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
    files = resolve_file(Path(f"{tf_checkpoint_path}.index"), Wish("pt", frozenset({"from_tf"})))
    with open_source(files, rules_of(config)) as source:
        found = matched(model, tensor_groups(model), source)
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
    for kind in Wish("pt").kinds:
        if (folder / kind.index).is_file():
            found = find_kind(_OnlyIndex(folder), kind)
            if found is not None:
                return found
    names = ", ".join(kind.index for kind in Wish("pt").kinds)
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
