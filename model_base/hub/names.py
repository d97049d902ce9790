"""What repositories, revisions, commits and files on the hub can be called."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from model_base.errors import HubUnavailable

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
COMMIT = re.compile("[0-9a-f]{40}")
REVISION = re.compile(r"(?!.*(\.\.|//|/\.|/$))[^./-][^\0- ~^:?*\[\\\x7f\ud800-\udfff]{0,199}")
"""A git ref, and no path out of the folder of refs."""


def check_names(names: Iterable[str]) -> None:
    """Refuse names that lead out of a folder, or of which two are one on some disks.

    Raises:
        HubUnavailable: naming it.
    """
    seen: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or set(name) & set("\\\0:"):
            raise HubUnavailable(
                f"the repository has a file {name!r:.200}, no name of one", "damaged"
            )
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise HubUnavailable(
                f"the repository has the files {other!r:.100} and {name!r:.100}, which are one "
                "on a disk that ignores case",
                "damaged",
            )
