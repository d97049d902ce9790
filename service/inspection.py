"""``model-base inspect``: what a model folder holds, without reading its values."""

import contextlib
import math
import reprlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_base.checkpoints import TF_CHECKPOINT, TORCH_BIN
from model_base.checkpoints.base import Array, Checkpoint
from model_base.configs.base import read_config
from model_base.errors import ModelBaseError
from model_base.hub.files import Folder
from model_base.loading.resolve import KINDS, WeightFiles, find_kind
from service.repository.saved_models import has_graph, numbered_versions

_MAX_ERROR = 500
"""Characters of an error: it quotes names from the files, which may be of any length."""


class NotAModel(ValueError):
    """Raised when a folder holds no model; the text says what is missing."""


def inspect_folder(folder: Path) -> str:
    """Architecture, parameters, bytes and dtypes of each weight format, as text.

    Raises:
        NotAModel: no folder, no configuration, or a damaged file.
    """
    if not folder.is_dir():
        raise NotAModel(f"{folder} is not a folder")
    files = Folder(folder)
    try:
        found = [(kind, weights) for kind in KINDS if (weights := find_kind(files, kind))]
        saved_models = _saved_models(folder)
        lines = [f"folder        {folder}"]
        if not saved_models or files.find("config.json"):
            config = read_config(files)
            lines += [
                f"model type    {', '.join(_names(config, 'model_type'))}",
                f"architecture  {', '.join(_names(config, 'architectures'))}",
            ]
        for kind, weights in found:
            lines += ["", *_describe(kind.format.name, weights)]
        for version, path in saved_models.items():
            lines += ["", *_describe_saved_model(version, path)]
    except (ModelBaseError, OSError) as error:
        raise NotAModel(_printable(str(error))[:_MAX_ERROR]) from error
    if not found and not saved_models:
        lines += ["", "no weights of a known format"]
    return "".join(f"{_printable(line)}\n" for line in lines)


def _names(config: Mapping[str, Any], key: str) -> list[str]:
    """A field that holds a name or a list of names.

    Raises:
        NotAModel: it holds something else.
    """
    value = config.get(key) or ["unknown"]
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        shown = _printable(reprlib.repr(value))
        raise NotAModel(f"config.json: {key} is {shown}; accepted: a name or a list of names")
    return names


def _printable(text: str) -> str:
    """The text with escapes in place of what would steer a terminal or end the line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _tied(checkpoint: Checkpoint) -> set[str]:
    """Names whose values are another name's: torch stores what several names share once."""
    arrays: dict[tuple[int, int], Array] = {}  # kept, so that no memory is used a second time
    tied = set()
    for name, info in checkpoint.infos.items():
        array = checkpoint.read(name)
        place = array.__array_interface__["data"][0], info.num_bytes
        if info.num_bytes and arrays.setdefault(place, array) is not array:
            tied.add(name)
    return tied


def _more_names(tied: set[str]) -> str:
    return f" ({len(tied)} more name{'s' * (len(tied) > 1)} for the same values)" if tied else ""


def _saved_models(folder: Path) -> dict[str, Path]:
    """Each SavedModel by its version; one without a number has none."""
    if has_graph(folder):
        return {"": folder}
    return {str(number): path for number, path in numbered_versions(folder).items()}


def _describe_saved_model(version: str, path: Path) -> list[str]:
    name = f"saved_model version {version}" if version else "saved_model"
    index = path / "variables" / "variables.index"
    if not index.is_file():
        return [f"format        {name} (no variables)"]
    return _describe(name, WeightFiles(TF_CHECKPOINT, [index], str(path)))


def _describe(name: str, weights: WeightFiles) -> list[str]:
    with contextlib.closing(weights.open()) as checkpoint:
        tied = _tied(checkpoint) if weights.format is TORCH_BIN else set()
        infos = [info for name, info in checkpoint.infos.items() if name not in tied]
    values: Counter[str] = Counter()
    for info in infos:
        values[info.dtype.name] += math.prod(info.shape)
    dtypes = ", ".join(f"{dtype} {count:,}" for dtype, count in values.most_common())
    return [
        f"format        {name} ({len(weights.paths)} file{'s' * (len(weights.paths) > 1)})",
        f"tensors       {len(infos):,}{_more_names(tied)}",
        f"parameters    {sum(math.prod(i.shape) for i in infos if i.is_floating):,}",
        f"bytes         {sum(info.num_bytes for info in infos):,}",
        f"dtypes        {dtypes}",
    ]
