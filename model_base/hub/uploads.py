"""Files on their way to the hub, told of as they are read."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from typing_extensions import override


def upload(name: str, path: Path, tell: Callable[[int], None]) -> Any:
    """A ``huggingface_hub.CommitOperationAdd`` that tells how many bytes more were sent.

    What the hub has already is not sent; nor is it told what goes by the Xet protocol.

    Args:
        name: in the repository.
        path: of the file.
        tell: called as the bytes go; those that have to go again are told once.
    """
    from huggingface_hub import CommitOperationAdd

    class Upload(CommitOperationAdd):
        @override
        @contextlib.contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[Any]:
            """The content; with a bar when it is sent, of which this takes the place."""
            with _Told(path, tell) if with_tqdm else path.open("rb") as file:
                yield file

    return Upload(name, path)


class _Told(io.BufferedReader):
    """A file that tells how far it was read."""

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._tell, self._told = tell, 0

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if (more := self.tell() - self._told) > 0:
            self._told += more
            self._tell(more)
        return data
