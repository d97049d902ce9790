"""A model repository on the hub that is written to."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from model_base.errors import HubConflict, HubUnavailable
from model_base.hub.failures import failing_as_ours
from model_base.hub.names import COMMIT
from model_base.hub.progress import Bar, Progress
from model_base.hub.transport import checked_endpoint, checked_token, masked, speaks_xet, transport
from model_base.hub.uploads import upload

MAX_FILES = 100_000
"""Files and folders of a repository."""
_MAX_RACES = 5


@dataclass(frozen=True, slots=True)
class WritableRepository:
    """A repository, as it was when it was opened.

    Attributes:
        repo_id: ``owner/name``.
        endpoint: address of the hub; None is the default one.
        token: for the hub; True is the stored one, False none.
        head: the commit that is changed; None if there is none yet.
        files: names of the files in it.
    """

    repo_id: str
    endpoint: str | None
    token: bool | str | None = field(repr=False)
    head: str | None
    files: frozenset[str]

    @classmethod
    def open(
        cls,
        name: str,
        *,
        endpoint: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        create: bool = True,
    ) -> Self:
        """Find a repository, or make it.

        Args:
            name: ``owner/name``, or ``name`` in the namespace of the token.
            endpoint: address of the hub; None is the default one.
            private: of a new repository; None is what the namespace has as default.
            token: as the attribute.
            create: whether it may be made.

        Raises:
            HubUnavailable: the hub refused or cannot be reached.
            ValueError: ``endpoint`` is not the address of a hub, or ``token`` none.
        """
        endpoint, token = checked_endpoint(endpoint), checked_token(token)
        doing = f"open {name!r} to push to it"
        with transport(endpoint=endpoint), failing_as_ours(doing, name):
            api = _api(endpoint, token)
            if create:
                found = api.create_repo(name, private=private, exist_ok=True).repo_id
                if "/" in name and found != name:
                    raise HubUnavailable(f"{name!r} is now {found!r} on the hub; push to that")
                name = found
            info = api.model_info(name)
            files = frozenset(sibling.rfilename for sibling in info.siblings or ())
            return cls(name, endpoint, token, _checked(info.sha), files)

    def commit(
        self,
        folder: Path,
        names: Iterable[str],
        message: str,
        gone: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> str:
        """Make the repository's files those of a folder, in one commit or none if they are.

        A commit that somebody else has made meanwhile stays, if it changed other files.

        Args:
            folder: where the files are.
            names: which of them; others in the repository stay.
            message: of the commit.
            gone: files of the repository that are removed.
            progress: told of the files' bytes as they go, and at the end of those that the hub has
                already; None shows a bar.

        Returns:
            The address of the commit, of the present one if there was nothing to change.

        Raises:
            HubConflict: another commit since the repository was opened changed one of the files.
            HubUnavailable: the hub refused or cannot be reached.
        """
        added, gone = sorted(names), sorted(gone)
        reporting = Bar(self.repo_id) if progress is None else contextlib.nullcontext(progress)
        with reporting as told:
            return self._commit(folder, added, gone, message, told)

    def _commit(
        self, folder: Path, added: list[str], gone: list[str], message: str, progress: Progress
    ) -> str:
        from huggingface_hub import CommitOperationDelete

        left = {name: (folder / name).stat().st_size for name in added}
        progress.expect(sum(left.values()), len(left))

        def tell(name: str, num_bytes: int) -> None:
            left[name] -= num_bytes
            progress.update(num_bytes)

        changes: list[Any] = [upload(name, folder / name, partial(tell, name)) for name in added]
        changes += [CommitOperationDelete(name, is_folder=False) for name in gone]
        commit = self._commit_upon(self.head, changes, message, {*added, *gone})
        for name in added:
            tell(name, left[name])
            progress.finish()
        return self._url_of(commit)

    def _commit_upon(
        self, head: str | None, changes: list[Any], message: str, names: set[str],
        races_left: int = _MAX_RACES,
    ) -> str | None:  # fmt: skip
        """Commit; if others have done so meanwhile, upon what they have made."""
        try:
            with self._asking(f"push to {self.repo_id!r}", xet=speaks_xet(self.endpoint)):
                done = _api(self.endpoint, self.token).create_commit(
                    self.repo_id, changes, commit_message=message, parent_commit=head
                )
                return str(done.oid)
        except HubConflict:
            if not races_left:
                raise
        now = self._after_race(head, names)
        return self._commit_upon(now, changes, message, names, races_left - 1)

    def _after_race(self, head: str | None, ours: set[str]) -> str | None:
        """The head that the hub has now.

        Raises:
            HubConflict: one of our files is not as it was at the head that we know.
        """
        with self._asking(f"look at {self.repo_id!r} again"):
            now = _checked(_api(self.endpoint, self.token).model_info(self.repo_id).sha)
        old, new = ({} if at is None else self.contents(at) for at in (head, now))
        if both := sorted(name for name in ours if old.get(name) != new.get(name)):
            raise HubConflict(
                f"cannot push to {self.repo_id!r}: somebody else has committed meanwhile ({now}; "
                f"ours is upon {head}), and changed {', '.join(both[:5])}, too; load what is "
                "there, then push again"
            )
        return now

    def contents(self, commit: str) -> dict[str, str]:
        """The hub's name of the content of each file: SHA-256 of a large one, else git's hash.

        Raises:
            HubUnavailable: the hub refused or cannot be reached.
        """
        with self._asking(f"list the files of {self.repo_id!r}", commit):
            tree = _api(self.endpoint, self.token).list_repo_tree(
                self.repo_id, recursive=True, revision=commit
            )
            entries = list(islice(tree, MAX_FILES + 1))
        if len(entries) > MAX_FILES:
            raise HubUnavailable(f"{self.repo_id!r} has more than {MAX_FILES} files", "damaged")
        files = [entry for entry in entries if hasattr(entry, "blob_id")]
        return {each.path: each.lfs.sha256 if each.lfs else each.blob_id for each in files}

    @contextlib.contextmanager
    def _asking(self, doing: str, revision: str | None = None, xet: bool = True) -> Iterator[None]:
        with (
            transport(xet=xet, endpoint=self.endpoint),
            failing_as_ours(doing, self.repo_id, revision),
        ):
            yield

    def _url_of(self, commit: str | None) -> str:
        """Where the hub shows a commit; what it says itself may be anything."""
        from huggingface_hub import constants

        return f"{self.endpoint or constants.ENDPOINT}/{self.repo_id}/commit/{_checked(commit)}"


def parse_url(repo_url: str) -> tuple[str | None, str]:
    """The hub's address, None if not told, and ``owner/name``.

    Raises:
        ValueError: it names no repository, or holds a password.
    """
    if "@" in repo_url:
        raise ValueError(
            f"repo_url (…@{masked(repo_url)}) holds a name or password; pass use_auth_token instead"
        )
    parts = urlsplit(repo_url)
    name = parts.path.strip("/").removesuffix(".git")
    if parts.scheme not in ("", "http", "https") or name.count("/") != 1:
        shown = masked(repo_url)
        raise ValueError(f"repo_url is {shown!r}; accepted: https://hub/owner/name, owner/name")
    return (f"{parts.scheme}://{parts.netloc}" if parts.scheme else None), name


def _checked(commit: str | None) -> str | None:
    """What the hub says is a commit, None if there is none."""
    if commit is None or (isinstance(commit, str) and COMMIT.fullmatch(commit)):
        return commit
    raise HubUnavailable("what the hub answers names no commit", "damaged")


def _api(endpoint: str | None, token: bool | str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token)
