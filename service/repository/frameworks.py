"""What runs a model, and under which version, if the operator does not say."""

from pathlib import Path

from model_base.errors import CheckpointUnreadable
from model_base.hub.files import Folder
from model_base.loading.resolve import KINDS, find_kind
from service.core.errors import BadRequest
from service.core.messages import ModelSpec
from service.repository.saved_models import (
    SAVED_MODEL,
    has_graph,
    holds_saved_model,
    numbered_versions,
)
from service.repository.sources import Source


def is_saved_model(folder: Path) -> bool:
    """Whether a folder is served as a SavedModel if nobody says how: it has no other weights."""
    if not holds_saved_model(folder):
        return False
    try:
        return not any(find_kind(Folder(folder), kind) for kind in KINDS)
    except CheckpointUnreadable:
        return False  # it has weights, though damaged


def framework_of(framework: str, source: Source) -> str:
    """What runs a model.

    Args:
        framework: as asked for; ``auto`` means that the files decide.
        source: where they are.

    Raises:
        BadRequest: a SavedModel is asked for that is not in an allowed folder.
    """
    if framework == SAVED_MODEL and source.folder is None:
        raise BadRequest(
            "a SavedModel is code and is not served from the hub; accepted: one in a model folder "
            "(setting model_folders)"
        )
    if framework != "auto":
        return framework
    return SAVED_MODEL if source.folder and is_saved_model(source.folder) else "torch"


def version_of(spec: ModelSpec, source: Source) -> str:
    """The version asked for, or the highest number that the folder has, or ``1``."""
    if spec.version:
        return spec.version
    folder = source.folder
    if folder is None or framework_of(spec.framework, source) != SAVED_MODEL or has_graph(folder):
        return "1"
    return str(max(numbered_versions(folder), default=1))
