"""SavingMixin: write a model folder, whole or in shards, completely or not at all.

Source: transformers 4.19.2, ``PreTrainedModel.save_pretrained`` and ``shard_checkpoint``.
"""

import inspect
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from model_base import constants
from model_base.checkpoints import SAFETENSORS
from model_base.checkpoints.torch_bin import to_numpy
from model_base.hub.push import PushToHubMixin, pop_push_options
from model_base.saving import all_or_nothing, write_shards
from model_base.torch.module_utils import ModuleUtilsMixin

_WEIGHT_FILE = re.compile(r"(pytorch_model|model)(-\d+-of-\d+)?\.(bin|safetensors)(\.index\.json)?")


class SavingMixin(PushToHubMixin, ModuleUtilsMixin):
    """How a model is written."""

    config: Any
    _auto_class: ClassVar[str | None]
    _keys_to_ignore_on_save: list[str] | None

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoModel") -> None:
        """Let what is saved of this class say that it belongs to an auto class.

        The file that defines the class is then saved beside the weights, for libraries that run
        such files; this one never does.

        Args:
            auto_class: one of ours, or its name.

        Raises:
            ValueError: there is no such auto class.
        """
        name = auto_class if isinstance(auto_class, str) else auto_class.__name__
        if name not in constants.TASKS:
            raise ValueError(f"{name!r} is no auto class; accepted: {', '.join(constants.TASKS)}")
        cls._auto_class = name

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        save_function: Callable[..., Any] = torch.save,
        push_to_hub: bool = False,
        max_shard_size: int | str = "10GB",
        **kwargs: Any,
    ) -> None:
        """Write config.json and the weights into a folder, made if need be.

        Every file is written under another name first and renamed when all are there, so that a
        full disk leaves the folder as it was. Weight files of an earlier save are then removed.

        Args:
            save_directory: the folder.
            is_main_process: False writes no config and removes nothing, and cannot push.
            state_dict: written instead of the model's own.
            save_function: how one ``.bin`` file is written: ``save_function(tensors, path)``.
            push_to_hub: save and push in one commit; the repository, by default named as the
                folder, is opened before anything is written.
            max_shard_size: bytes, or text such as ``"512MiB"``.
            kwargs: ``safe_serialization`` (True) writes safetensors, False ``.bin``. For a push
                those of ``push_to_hub``: ``repo_path_or_name``, ``repo_url``, ``organization``,
                ``private``, ``use_auth_token``, ``commit_message``, ``use_temp_dir``.

        Raises:
            HubUnavailable: the hub refuses the push or cannot be reached.
            NotADirectoryError: the path is a file.
            OSError: the disk is full or cannot be written.
            TypeError: an unknown keyword argument.
            ValueError: ``push_to_hub`` where ``is_main_process`` is False.
        """
        safe = kwargs.pop("safe_serialization", True)
        is_main_process = kwargs.pop("save_config", is_main_process)
        push_options = pop_push_options(kwargs)
        folder = Path(save_directory)
        if push_to_hub:
            if not is_main_process:
                raise ValueError("push_to_hub with is_main_process=False; accepted: one of them")
            save = partial(
                self.save_pretrained, state_dict=state_dict, save_function=save_function,
                max_shard_size=max_shard_size, safe_serialization=safe,
            )  # fmt: skip
            self._save_pushing(folder, save, push_options)
            return
        if folder.is_file():
            raise NotADirectoryError(f"{folder} is a file; a folder is needed to save into")
        folder.mkdir(parents=True, exist_ok=True)
        model = _unwrapped(self)
        tensors = dict(model.state_dict() if state_dict is None else state_dict)
        for name in self._keys_to_ignore_on_save or []:
            tensors.pop(name, None)
        if safe:
            tensors = _without_duplicates(tensors)
        is_replaced = self._belongs_to_earlier_save if is_main_process else lambda _: False
        with all_or_nothing(folder, is_replaced) as scratch:
            if is_main_process:
                self._write_config(scratch, model)
            _write_weights(scratch, tensors, max_shard_size, safe, save_function)

    @override
    def _belongs_to_earlier_save(self, file: str) -> bool:
        return _WEIGHT_FILE.fullmatch(file) is not None

    def _write_config(self, folder: Path, model: Any) -> None:
        model.config.torch_dtype = str(self.dtype).removeprefix("torch.")
        model.config.architectures = [type(model).__name__]
        if self._auto_class is not None:
            source = Path(inspect.getfile(type(model)))
            model.config.auto_map = {self._auto_class: f"{source.stem}.{type(model).__name__}"}
            shutil.copyfile(source, folder / source.name)
        model.config.save_pretrained(folder)


def _unwrapped(model: Any) -> Any:
    """The model inside DataParallel and the like."""
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.module
    return model


def _without_duplicates(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors once, under their first name: safetensors does not share storage."""
    seen: set[tuple[int, torch.Size, tuple[int, ...]]] = set()
    kept = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        kept[name] = tensor
    return kept


def _write_weights(
    folder: Path,
    tensors: Mapping[str, Tensor],
    max_shard_size: int | str,
    safe: bool,
    save_function: Callable[..., Any],
) -> None:
    sizes = {name: t.numel() * t.element_size() for name, t in tensors.items()}
    whole = constants.SAFE_WEIGHTS_NAME if safe else constants.WEIGHTS_NAME

    def write(path: Path, names: Sequence[str]) -> None:
        shard = {name: tensors[name] for name in names}
        if safe:
            arrays = {name: to_numpy(tensor.cpu()) for name, tensor in shard.items()}
            SAFETENSORS.write(path, arrays, {"format": "pt"})
        else:
            _call(save_function, shard, path)

    write_shards(folder, whole, sizes, max_shard_size, write)


def _call(save_function: Callable[..., Any], shard: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_function(shard, path)
    except RuntimeError as error:  # what torch.save raises on a full disk
        raise OSError(f"cannot write {path.name}: {error}") from error
