"""Keras ``.h5``: datasets in groups, listed by attributes. Needs h5py, not TensorFlow.

Source: keras 2.8 ``saving/hdf5_format.py`` (attributes ``layer_names``, ``weight_names``, split
into numbered chunks above 64,512 bytes); transformers 4.26 for shards, whose ``layer_names``
list the datasets themselves.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import count, takewhile
from pathlib import Path
from typing import Any, ClassVar

import h5py  # type: ignore[import-untyped]  # h5py has no type hints
import numpy as np
from typing_extensions import override

from model_base.checkpoints.base import (
    DTYPES,
    Array,
    Checkpoint,
    CheckpointFormat,
    TensorInfo,
    explain_unreadable,
    forget_pages,
    replacing,
)
from model_base.conversion.conventions import Convention, keras_names
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint

TOP_LEVEL = "top_level_model_weights"
"""Group of the weights that are the model's own and of no layer."""
_MAX_ATTRIBUTE_BYTES = 64_512
_MAX_LIST_BYTES = 16 * 2**20
"""HDF5 limits an attribute to 64 KiB, but reads whatever a damaged file claims."""


class H5File:
    """An open h5 file (a ``Checkpoint``). Names are Keras', without the model's own in front."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = h5py.File(path, "r")
            self._datasets = dict(_datasets(path, self._file))
            self.infos = {
                name: TensorInfo(tuple(data.shape), np.dtype(data.dtype.str))  # numpy's own
                for name, data in self._datasets.items()
            }
        except CheckpointUnreadable:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise explain_unreadable(path, error) from error
        self.metadata: Mapping[str, str] = {}

    @cached_property
    def _map(self) -> Array:
        return np.memmap(self._path, np.uint8, mode="c")

    def read(self, name: str) -> Array:
        """The values: mapped where the file has them in one piece, else copied out of it."""
        data, info = self._datasets[name], self.infos[name]
        try:
            if (start := data.id.get_offset()) is None:  # in chunks, or beside its header
                values: Array = data[()]
            else:
                stored = self._map[start : start + info.num_bytes]
                values = stored.view(info.dtype).reshape(info.shape)
        except (OSError, ValueError) as error:
            raise explain_unreadable(self._path, error) from error
        return values

    def release(self, name: str) -> None:
        """Give the pages of a mapped tensor back."""
        if self._datasets[name].id.get_offset() is not None:
            forget_pages(self.read(name))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _datasets(path: Path, file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every weight with its name; a name listed twice (shared embeddings) comes once."""
    layers = _strings(file, "layer_names")
    if layers is None:
        raise CheckpointUnreadable(f"{path.name} lists no layers: not a file of Keras weights")
    seen: set[str] = set()
    top = [TOP_LEVEL] if TOP_LEVEL in file and TOP_LEVEL not in layers else []
    for layer in [*layers, *top]:
        node = _child(path, file, layer)
        if isinstance(node, h5py.Dataset):
            yield layer, _checked(path, layer, node)
            continue
        for weight in _strings(node, "weight_names") or []:
            name = weight.split("/", 1)[-1]
            if name not in seen:
                seen.add(name)
                yield name, _checked(path, weight, _child(path, node, weight))


def _child(path: Path, group: h5py.Group, name: str) -> Any:
    """What ``name`` leads to. Links are refused: Keras writes none, and they may leave the file."""
    node: Any = group
    for part in name.split("/"):
        if not isinstance(node.get(part, getlink=True), h5py.HardLink):
            raise UnsafeCheckpoint(f"{path.name}: {part!r} in {name!r} is a link")
        node = node[part]
    return node


def _checked(path: Path, name: str, node: Any) -> h5py.Dataset:
    """``node`` if it is a dataset of numbers that are in this file, all of them."""
    if not isinstance(node, h5py.Dataset) or node.dtype not in DTYPES:
        raise CheckpointUnreadable(f"{path.name}: {name!r} is not a dataset of numbers")
    if node.external or node.is_virtual:
        raise UnsafeCheckpoint(f"{path.name}: the values of {name!r} lie in another file")
    stored = node.id.get_storage_size()
    if stored < node.nbytes and node.compression is None:
        raise CheckpointUnreadable(
            f"{path.name}: {name!r} has shape {node.shape}, of {node.nbytes} bytes, but {stored} "
            "are stored"
        )
    return node


def _strings(node: h5py.Group, attribute: str) -> list[str] | None:
    """A list attribute, joined from its chunks ``attribute0``, … if split; None if absent."""
    if attribute in node.attrs:
        values = list(_attribute(node, attribute))
    elif f"{attribute}0" in node.attrs:
        chunks = takewhile(node.attrs.__contains__, (f"{attribute}{i}" for i in count()))
        values = [value for chunk in chunks for value in _attribute(node, chunk)]
    else:
        return None
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _attribute(node: h5py.Group, name: str) -> Any:
    """The values of a list; one that says it is larger than any is not read."""
    stored = node.attrs.get_id(name)
    if 0 in stored.shape:  # of a layer without weights; HDF5 does not tell the size of nothing
        return ()
    if (size := stored.get_storage_size()) > _MAX_LIST_BYTES:
        raise ValueError(f"the list {name} says it has {size} bytes")
    return node.attrs[name]


class TfH5(CheckpointFormat):
    """The format of ``tf_model.h5``."""

    name: ClassVar[str] = "tf_h5"
    suffix: ClassVar[str] = ".h5"

    @override
    def convention(self, checkpoint: Checkpoint) -> Convention:
        return keras_names

    @override
    def open(self, path: Path) -> H5File:
        return H5File(path)

    @override
    def write(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        """Datasets at the root, as shards of transformers 4.26 lay them out."""
        if odd := {array.dtype.name for array in tensors.values() if array.dtype.isbuiltin != 1}:
            raise ValueError(f"h5 cannot hold {', '.join(odd)}; accepted: numpy's own dtypes")
        with replacing(path) as partial, h5py.File(partial, "w") as file:
            for name, array in tensors.items():
                file.create_dataset(name, data=array)
            _write_list(file, "layer_names", list(tensors))

    def write_layers(self, path: Path, layers: Mapping[str, Mapping[str, Array]]) -> None:
        """A whole file as Keras 2 lays it out, which every transformers 4.x reads.

        Args:
            path: of the file.
            layers: for each layer of the model its weights, by name. The names have the model's
                own in front, and what two layers share is there twice.

        Raises:
            OSError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        with replacing(path) as partial, h5py.File(partial, "w") as file:
            file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.8.0"
            _write_list(file, "layer_names", [n for n in layers if n != TOP_LEVEL])
            for layer, tensors in layers.items():
                group = file.create_group(layer)
                _write_list(group, "weight_names", list(tensors))
                for name, array in tensors.items():
                    group.create_dataset(name, data=array)


def _write_list(node: h5py.Group, attribute: str, names: list[str]) -> None:
    """A list attribute, in numbered chunks if it is longer than HDF5 allows."""
    encoded = [name.encode() for name in names]
    longest = max(map(len, encoded), default=1)
    count = max(_MAX_ATTRIBUTE_BYTES // longest, 1)
    if len(encoded) <= count:
        node.attrs[attribute] = np.array(encoded, dtype=f"S{longest}")
        return
    for number, start in enumerate(range(0, len(encoded), count)):
        chunk = encoded[start : start + count]
        node.attrs[f"{attribute}{number}"] = np.array(chunk, dtype=f"S{longest}")
