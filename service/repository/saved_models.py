"""Which SavedModel a folder means. Looks at names only; needs no TensorFlow.

A SavedModel is code: its graph may read and write files of this machine. So it is served from
folders that the operator allows, never from the hub's cache.
"""

from pathlib import Path

SAVED_MODEL = "saved_model"
"""Name of its framework: what runs it."""
_GRAPH = "saved_model.pb"
_VARIABLES = "variables"


class NoSuchVersion(ValueError):
    """Raised when a folder does not hold the SavedModel asked for; the text says which it holds."""


def holds_saved_model(folder: Path) -> bool:
    """Whether a folder is a SavedModel or has numbered ones in it."""
    return has_graph(folder) or bool(numbered_versions(folder))


def has_graph(folder: Path) -> bool:
    """Whether a folder is a SavedModel itself."""
    return (folder / _GRAPH).is_file()


def numbered_versions(folder: Path) -> dict[int, Path]:
    """The SavedModels in version folders (``1/``, ``00000123/``), in order.

    They lie in the folder itself, or in ``saved_model/``, where ``save_pretrained`` puts them.
    """
    for root in (folder, folder / "saved_model"):
        if root.is_dir():
            paths = [p for p in root.iterdir() if p.name.isascii() and p.name.isdigit()]
            if found := {int(path.name): path for path in paths if has_graph(path)}:
                return dict(sorted(found.items()))
    return {}


def find_saved_model(folder: Path, version: str) -> Path:
    """The SavedModel to load: the folder itself, or the version asked for in it.

    Raises:
        NoSuchVersion: the folder holds no SavedModel, or its versions are others.
    """
    if has_graph(folder):
        return folder
    versions = numbered_versions(folder)
    if not versions:
        raise NoSuchVersion(
            "there is no SavedModel; accepted: a folder with saved_model.pb, or with numbered "
            "folders that have one"
        )
    if version.isascii() and version.isdigit() and int(version) in versions:
        return versions[int(version)]
    raise NoSuchVersion(
        f"version is {version!r}; the folder's SavedModels are {', '.join(map(str, versions))}"
    )


def saved_model_bytes(saved_model: Path) -> int:
    """Size of its variables and of its graph, which holds the constants."""
    files = [saved_model / _GRAPH, *(saved_model / _VARIABLES).glob("*")]
    return sum(path.stat().st_size for path in files if path.is_file())
