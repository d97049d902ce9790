"""Writing the files of a folder completely or not at all."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def all_or_nothing(folder: Path, is_replaced: Callable[[str], bool]) -> Iterator[Path]:
    """A folder to write into; what is in it is moved to ``folder`` on success, else removed.

    Args:
        folder: where the files shall be.
        is_replaced: whether a file of this name is of an earlier save: it is removed on success
            unless it was written anew.
    """
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as name:
        scratch = Path(name)
        yield scratch
        written = {path.name for path in scratch.iterdir()}
        for file in written:
            (scratch / file).replace(folder / file)
        for path in folder.iterdir():
            if path.is_file() and path.name not in written and is_replaced(path.name):
                path.unlink()
