"""A local folder that is kept in step with a repository, without git.

A manifest in the folder says which commit it was brought to, and what each file was there. With it
three states of a file can be told apart: as it was, as it is here, as it is on the hub.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_base.errors import HubConflict, HubUnavailable
from model_base.hub.files import HubRepository
from model_base.hub.names import check_names
from model_base.hub.repository import WritableRepository
from model_base.hub.resuming import digest_of

MANIFEST = ".model-base.json"
_SCRATCH = ".pulling-"
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Clone:
    """A folder and the repository that it is pushed to."""

    folder: Path
    repository: WritableRepository

    def pull(self) -> None:
        """Bring the folder to the head of the repository, if it is a clone of it; else nothing.

        What was changed here and not there stays; what was changed or removed there and not here
        is changed or removed here. Files change one by one, each at once; a pull that was killed
        is completed by the next.

        Raises:
            HubConflict: a file was changed on both sides; nothing was done.
            HubUnavailable: the hub cannot be reached, or a name in the repository is no file's.
            OSError: the disk is full or cannot be written.
        """
        base, head = self._manifest(), self.repository.head
        if base is None or head is None or base["commit"] == head:
            return
        remote = self.repository.contents(head)
        check_names(remote)
        was: dict[str, str] = base["files"]
        changed = [n for n in {**was, **remote} if was.get(n) != remote.get(n)]
        open_ = [n for n in changed if not self._is(n, remote.get(n))]
        if both := sorted(name for name in open_ if not self._is(name, was.get(name))):
            raise HubConflict(
                f"cannot pull {self.repository.repo_id!r} at {head[:12]} into {self.folder}: "
                f"{', '.join(both[:_MAX_NAMED])} changed on both sides; move your own away, or "
                "take theirs, then push again"
            )
        self._take([name for name in open_ if name in remote])
        for name in open_:
            if name not in remote:
                (self.folder / name).unlink()
        self._write(head, remote)

    def _is(self, name: str, oid: str | None) -> bool:
        """Whether a file is here with this content; for None, whether it is not here."""
        path = self.folder / name
        if oid is None or not path.is_file():
            return oid is None and not path.exists()
        return bool(digest_of(oid, path).hexdigest() == oid)

    def _take(self, names: list[str]) -> None:
        """Put the repository's files in the place of those here, once all have come."""
        for left in self.folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left)
        repository = self.repository
        options = {"token": repository.token, "endpoint": repository.endpoint}
        files = HubRepository(
            repository.repo_id, repository.head, {k: v for k, v in options.items() if v is not None}
        )
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.folder) as scratch:
            for name, path in files.find_all(names).items():
                if path is None:
                    raise HubUnavailable(f"{name} of {repository.repo_id!r} is gone", "not_found")
                (Path(scratch) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, Path(scratch) / name)
            for name in names:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / name).replace(self.folder / name)

    def note(self, commit: str, pushed: Container[str]) -> None:
        """Remember that these files were pushed in this commit: it is a clone from now on."""
        self._write(commit, self.repository.contents(commit), pushed)

    def _manifest(self) -> dict[str, Any] | None:
        """What is known of the folder; None if it is no clone of the repository."""
        try:
            found = json.loads((self.folder / MANIFEST).read_text())
            files = {str(name): str(oid) for name, oid in found["files"].items()}
            is_ours = found["repository"] == self._name
            return {"commit": str(found["commit"]), "files": files} if is_ours else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _write(self, commit: str, remote: Mapping[str, str], pushed: Container[str] = ()) -> None:
        """Remember the commit, and which of its files are here; what was pushed is."""
        files = {n: oid for n, oid in sorted(remote.items()) if n in pushed or self._is(n, oid)}
        manifest = {"repository": self._name, "commit": commit, "files": files}
        partial = self.folder / f"{MANIFEST}.part"
        partial.write_text(json.dumps(manifest, indent=1))
        os.replace(partial, self.folder / MANIFEST)

    @property
    def _name(self) -> str:
        from huggingface_hub import constants

        return f"{self.repository.endpoint or constants.ENDPOINT}/{self.repository.repo_id}"
