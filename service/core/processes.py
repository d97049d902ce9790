"""How a process of ours starts another."""

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours and imports from where this process does.

    ``python -m`` looks into the working folder first, which for the installed command is the
    user's: a ``torch.py`` that lies there is not to be run.
    """
    here_too = not {os.getcwd(), ""}.isdisjoint(sys.path)
    return [sys.executable, *([] if here_too else ["-P"]), "-m", module, *arguments]
