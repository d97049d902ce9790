"""``python -m service.repository KIND ORDER``: the process between the hub and this machine.

KIND is ``pull``, ``push`` or ``head``, ORDER the arguments of that function as JSON.
"""

import json
import os
import sys
import threading

from service.repository.transfer import run


def _end_with_parent() -> None:
    """The service holds the other end of standard input for as long as it lives."""
    os.read(0, 1)  # sys.stdin would hold a lock that the interpreter needs to end
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(run(sys.argv[1], json.loads(sys.argv[2])))
