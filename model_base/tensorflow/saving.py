"""SavingMixin: write a model folder, whole or in shards, completely or not at all.

Source: transformers 4.19.2, ``TFPreTrainedModel.save_pretrained``; 4.26.1 for shards.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from model_base import constants
from model_base.checkpoints import SAFETENSORS, TF_H5
from model_base.checkpoints.base import Array
from model_base.checkpoints.tf_h5 import TOP_LEVEL
from model_base.hub.push import PushToHubMixin, pop_push_options
from model_base.saving import all_or_nothing, write_shards
from model_base.tensorflow.module_utils import named_variables

_H5_FILE = re.compile(r"tf_model(-\d+-of-\d+)?\.h5(\.index\.json)?")
_SAFE_FILE = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")


class SavingMixin(PushToHubMixin):
    """How a model is written."""

    config: Any
    name: str

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        saved_model: bool = False,
        version: int = 1,
        push_to_hub: bool = False,
        max_shard_size: int | str = "10GB",
        **kwargs: Any,
    ) -> None:
        """Write config.json and ``tf_model.h5`` into a folder, made if need be.

        Every file is written under another name first and renamed when all are there, so that a
        full disk leaves the folder as it was. Weight files of an earlier save are then removed.

        Args:
            save_directory: the folder.
            saved_model: also write ``saved_model/<version>``, which TensorFlow Serving loads.
            version: of that.
            push_to_hub: save and push in one commit; the repository, by default named as the
                folder, is opened before anything is written.
            max_shard_size: bytes, or text such as ``"512MiB"``.
            kwargs: ``safe_serialization`` (False) writes ``model.safetensors`` with the names
                that Keras has. For a push those of ``push_to_hub``.

        Raises:
            HubUnavailable: the hub refuses the push or cannot be reached.
            NotADirectoryError: the path is a file.
            OSError: the disk is full or cannot be written.
            TypeError: an unknown keyword argument.
            ValueError: ``version`` is not a number, which TensorFlow Serving wants.
        """
        folder, safe = Path(save_directory), kwargs.pop("safe_serialization", False)
        options = pop_push_options(kwargs)
        if saved_model and not str(version).isdecimal():
            raise ValueError(f"version is {version!r}; accepted: an integer, 0 or more")
        if push_to_hub:
            save = partial(
                self.save_pretrained, saved_model=saved_model, version=version,
                max_shard_size=max_shard_size, safe_serialization=safe,
            )  # fmt: skip
            self._save_pushing(folder, save, options)
            return
        if folder.is_file():
            raise NotADirectoryError(f"{folder} is a file; a folder is needed to save into")
        folder.mkdir(parents=True, exist_ok=True)

        def is_replaced(file: str) -> bool:
            """PyTorch's safetensors stay, unless ours take their place."""
            return self._belongs_to_earlier_save(file) or (
                safe and bool(_SAFE_FILE.fullmatch(file))
            )

        with all_or_nothing(folder, is_replaced) as scratch:
            self.config.architectures = [type(self).__name__.removeprefix("TF")]
            self.config.save_pretrained(scratch)
            self._write_weights(scratch, max_shard_size, safe)
            if saved_model:
                self.export_saved_model(scratch / "saved_model" / str(version))  # type: ignore[attr-defined]

    @override
    def _belongs_to_earlier_save(self, file: str) -> bool:
        return _H5_FILE.fullmatch(file) is not None

    def _write_weights(self, folder: Path, max_shard_size: int | str, safe: bool) -> None:
        variables = named_variables(self)
        spelled = {f"{name}:0": variable for name, variable in variables.items()}
        sizes = {name: 4 * int(np.prod(v.shape)) for name, v in spelled.items()}
        whole = constants.SAFE_WEIGHTS_NAME if safe else constants.TF2_WEIGHTS_NAME

        def write(path: Path, names: Sequence[str]) -> None:
            if path.name == whole and not safe:
                TF_H5.write_layers(path, self._layers_of_file(variables))
                return
            shard = _Values({name: spelled[name] for name in names})
            (SAFETENSORS if safe else TF_H5).write(path, shard, {"format": "tf"})

        write_shards(folder, whole, sizes, max_shard_size, write)

    def _layers_of_file(self, variables: Mapping[str, Any]) -> dict[str, Mapping[str, Array]]:
        """The weights of each layer under their full names; what is shared comes with each."""
        names = {id(variable): name for name, variable in variables.items()}
        model: Any = self
        layers = {layer.name: layer for layer in model._layers if isinstance(layer, keras.Layer)}
        found: dict[str, Mapping[str, Array]] = {
            name: _Values({f"{self.name}/{names[id(w)]}:0": w for w in layer.weights})
            for name, layer in layers.items()
        }
        own = (*model._trainable_variables, *model._non_trainable_variables)
        found[TOP_LEVEL] = _Values({f"{names[id(w)]}:0": w for w in own})
        return found


class _Values(Mapping[str, Array]):
    """The values of variables, as views that nobody can write to."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables

    def __getitem__(self, name: str) -> Array:
        tensor = self._variables[name].value.value()
        if np.dtype(tensor.dtype.as_numpy_dtype).isbuiltin != 1:  # bfloat16 has no such view
            values: Array = tensor.numpy()
            return values
        return np.asarray(memoryview(tensor))

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)
