"""How far a download is: told to whoever asked for it, by default in a bar on the terminal."""

import threading
from typing import Any, Protocol, Self


class Progress(Protocol):
    """Is told of a download; several threads do so at once."""

    def expect(self, num_bytes: int, num_files: int) -> None:
        """So much more is going to come."""

    def update(self, num_bytes: int) -> None:
        """So many bytes more have come; less than 0 if some are of no use after all.

        Raises:
            Exception: the download is to end here.
        """

    def finish(self) -> None:
        """One file is complete."""


class Stopped(Exception):
    """Raised in the threads of a download of which another thread has failed."""


class Bar(Progress):
    """One bar for several files, with bytes and their rate; used as a context manager.

    Args:
        title: what the bar shows in front.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._lock = threading.Lock()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def expect(self, num_bytes: int, num_files: int) -> None:
        """Show the bar, or make it longer."""
        from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # not in its __all__

        if not num_files:
            return
        with self._lock:
            if self._bar is None:
                make: Any = tqdm
                self._bar = make(
                    total=0, unit="B", unit_scale=True, desc=self._title, disable=None
                )  # None: only on a terminal
            self._bar.total += num_bytes
            self._bar.refresh()

    def update(self, num_bytes: int) -> None:
        """Move the bar."""
        with self._lock:
            self._bar.update(num_bytes)

    def finish(self) -> None:
        """Nothing: the bar shows bytes."""


class Stoppable(Progress):
    """Hands everything on, until it is stopped.

    Also what ``http_get`` takes for the bar of a file that it is to move.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stopped = False

    def stop(self) -> None:
        """Make every thread that reports end."""
        self._stopped = True

    def expect(self, num_bytes: int, num_files: int) -> None:
        """Hand on."""
        self._progress.expect(num_bytes, num_files)

    def update(self, num_bytes: int) -> None:
        """Hand on.

        Raises:
            Stopped: if it is.
        """
        if self._stopped:
            raise Stopped
        self._progress.update(num_bytes)

    def finish(self) -> None:
        """Hand on."""
        self._progress.finish()
