"""``python -m service.repository REPO_ID REVISION``: the process that downloads from the hub."""

import os
import sys
import threading

from service.repository.download import fetch


def _end_with_parent() -> None:
    """The service holds the other end of standard input for as long as it lives."""
    os.read(0, 1)  # sys.stdin would hold a lock that the interpreter needs to end
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(fetch(sys.argv[1], sys.argv[2] or None))
