"""Keras ``.h5``: datasets in groups, listed by attributes. Needs h5py, not TensorFlow.

Source: keras 2.8 ``saving/hdf5_format.py`` (attributes ``layer_names``, ``weight_names``, split
into numbered chunks above 64,512 bytes); transformers 4.26 for shards, whose ``layer_names``
list the datasets themselves.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from typing_extensions import override

from model_base.checkpoints.base import (
    Array,
    Checkpoint,
    CheckpointFormat,
    TensorInfo,
    explain_unreadable,
    replacing,
)
from model_base.conversion.conventions import Convention, keras_names
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint


class H5File(Checkpoint):
    """An open h5 file. Names are Keras', without the model's own name in front."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = h5py.File(path, "r")
            self._datasets = dict(_datasets(path, self._file))
            self.infos = {
                name: TensorInfo(tuple(data.shape), data.dtype)
                for name, data in self._datasets.items()
            }
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            if isinstance(error, CheckpointUnreadable):
                raise
            raise explain_unreadable(path, error) from error
        self.metadata: Mapping[str, str] = {}

    @override
    def read(self, name: str) -> Array:
        try:
            values: Array = self._datasets[name][()]
        except OSError as error:
            raise explain_unreadable(self._path, error) from error
        return values

    @override
    def close(self) -> None:
        self._file.close()


def _datasets(path: Path, file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every weight with its name; a name listed twice (shared embeddings) comes once."""
    seen: set[str] = set()
    for layer in _strings(file, "layer_names"):
        node = _child(path, file, layer)
        if isinstance(node, h5py.Dataset):
            yield layer, node
            continue
        for weight in _strings(node, "weight_names"):
            name = weight.split("/", 1)[-1]
            if name not in seen:
                seen.add(name)
                yield name, _dataset(path, node, weight)


def _dataset(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    node: Any = group
    for part in name.split("/"):
        node = _child(path, node, part)
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "fiub":
        raise CheckpointUnreadable(f"{path.name}: {name!r} is not a dataset of numbers")
    return node


def _child(path: Path, group: h5py.Group, name: str) -> Any:
    """One step down; a link that leaves the file is refused."""
    for end in range(1, name.count("/") + 2):
        part = "/".join(name.split("/")[:end])
        link = group.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UnsafeCheckpoint(f"{path.name}: {part!r} links to another file")
    node = group[name]
    if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
        raise UnsafeCheckpoint(f"{path.name}: the values of {name!r} lie in another file")
    return node


def _strings(node: h5py.Group, attribute: str) -> list[str]:
    """A list attribute, joined from its chunks ``attribute0``, ``attribute1``, … if split."""
    if attribute in node.attrs:
        values = list(node.attrs[attribute])
    else:
        values, chunk = [], 0
        while f"{attribute}{chunk}" in node.attrs:
            values.extend(node.attrs[f"{attribute}{chunk}"])
            chunk += 1
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


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
        with replacing(path) as partial, h5py.File(partial, "w") as file:
            for name, array in tensors.items():
                file.create_dataset(name, data=np.asarray(array))
            file.attrs["layer_names"] = [name.encode() for name in tensors]
