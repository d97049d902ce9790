"""The peak of a process's memory, for code that runs in a process of its own."""

import threading
import time
from pathlib import Path
from typing import Self


def resident() -> tuple[int, int]:
    """Bytes that are the process's own, and of all that it has mapped."""
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key in ("RssAnon", "RssFile"):
            found[key] = int(rest.split()[0]) * 1024
    return found["RssAnon"], found["RssAnon"] + found["RssFile"]


class Peak:
    """Looks at the memory every half a millisecond: the system keeps no peak of what is own.

    Attributes:
        over: afterwards, both peaks over what was there before.
    """

    def __enter__(self) -> Self:
        self.start, self.peak, self.done = resident(), (0, 0), False
        self.looked = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _look(self) -> None:
        own, everything = resident()
        self.peak = max(self.peak[0], own), max(self.peak[1], everything)

    def _watch(self) -> None:
        while not self.done:
            self._look()
            self.looked.set()
            time.sleep(0.0005)

    def __exit__(self, *error: object) -> None:
        self.done = True
        self.thread.join()
        self._look()
        self.over = self.peak[0] - self.start[0], self.peak[1] - self.start[1]
