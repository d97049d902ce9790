"""``model-base inspect``: what a model folder holds, from its headers alone."""

import math
from collections import Counter
from pathlib import Path

from model_base.configs.base import read_config
from model_base.errors import ModelBaseError
from model_base.hub.files import Folder
from model_base.loading.resolve import KINDS, WeightFiles, find_kind


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
        config = read_config(files)
        found = [(kind, weights) for kind in KINDS if (weights := find_kind(files, kind))]
        lines = [
            f"folder        {folder}",
            f"model type    {config.get('model_type', 'unknown')}",
            f"architecture  {', '.join(config.get('architectures') or ['unknown'])}",
        ]
        for kind, weights in found:
            lines += ["", *_describe(kind.format.name, weights)]
    except ModelBaseError as error:
        raise NotAModel(str(error)) from error
    if not found:
        lines += ["", "no weights of a known format"]
    return "\n".join(lines) + "\n"


def _describe(name: str, weights: WeightFiles) -> list[str]:
    checkpoint = weights.open()
    infos = list(checkpoint.infos.values())
    checkpoint.close()
    values: Counter[str] = Counter()
    for info in infos:
        values[info.dtype.name] += math.prod(info.shape)
    dtypes = ", ".join(f"{dtype} {count:,}" for dtype, count in values.most_common())
    return [
        f"format        {name} ({len(weights.paths)} file{'s' * (len(weights.paths) > 1)})",
        f"tensors       {len(infos):,}",
        f"parameters    {sum(values.values()):,}",
        f"bytes         {sum(info.num_bytes for info in infos):,}",
        f"dtypes        {dtypes}",
    ]
