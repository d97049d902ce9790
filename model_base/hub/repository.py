"""A model repository on the hub that is written to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from model_base.errors import HubConflict
from model_base.hub.failures import failing_as_ours
from model_base.hub.transport import checked_endpoint, checked_token, masked, speaks_xet, transport

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
        with transport(), failing_as_ours(f"open {name!r} to push to it", name):
            api = _api(endpoint, token)
            if create:
                name = api.create_repo(name, private=private, exist_ok=True).repo_id
            info = api.model_info(name)
            files = frozenset(sibling.rfilename for sibling in info.siblings or ())
            return cls(name, endpoint, token, info.sha, files)

    def commit(
        self, folder: Path, names: Iterable[str], message: str, gone: Iterable[str] = ()
    ) -> str:
        """Make the repository's files those of a folder, in one commit or none if they are.

        A commit that somebody else has made meanwhile stays, if it changed other files.

        Args:
            folder: where the files are.
            names: which of them; others in the repository stay.
            message: of the commit.
            gone: files of the repository that are removed.

        Returns:
            The address of the commit, of the present one if there was nothing to change.

        Raises:
            HubConflict: another commit since the repository was opened changed one of the files.
            HubUnavailable: the hub refused or cannot be reached.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added, gone = sorted(names), sorted(gone)
        changes: list[Any] = [CommitOperationAdd(name, folder / name) for name in added]
        changes += [CommitOperationDelete(name, is_folder=False) for name in gone]
        doing, head = f"push to {self.repo_id!r}", self.head
        for races_left in reversed(range(_MAX_RACES)):
            try:
                with transport(xet=speaks_xet(self.endpoint)), failing_as_ours(doing, self.repo_id):
                    done = _api(self.endpoint, self.token).create_commit(
                        self.repo_id, changes, commit_message=message, parent_commit=head
                    )
                    return str(done.commit_url)
            except HubConflict:
                if not races_left:
                    raise
                head = self._after_race(head, {*added, *gone})
        raise AssertionError("the last race is raised")

    def _after_race(self, head: str | None, ours: set[str]) -> str:
        """The head that the hub has now.

        Raises:
            HubConflict: one of our files is not as it was at the head that we know.
        """
        with transport(), failing_as_ours(f"look at {self.repo_id!r} again", self.repo_id):
            api = _api(self.endpoint, self.token)
            now = str(api.model_info(self.repo_id).sha)
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
        doing = f"list the files of {self.repo_id!r}"
        with transport(), failing_as_ours(doing, self.repo_id, commit):
            tree = _api(self.endpoint, self.token).list_repo_tree(
                self.repo_id, recursive=True, revision=commit
            )
            files = [entry for entry in tree if hasattr(entry, "blob_id")]
            return {each.path: each.lfs.sha256 if each.lfs else each.blob_id for each in files}


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


def _api(endpoint: str | None, token: bool | str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token)
