"""A model repository on the hub that is written to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from model_base.hub.failures import failing_as_ours
from model_base.hub.transport import checked_endpoint, checked_token, masked, speaks_xet, transport


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

        Args:
            folder: where the files are.
            names: which of them; others in the repository stay.
            message: of the commit.
            gone: files of the repository that are removed.

        Returns:
            The address of the commit, of the present one if there was nothing to change.

        Raises:
            HubConflict: there is another commit since the repository was opened.
            HubUnavailable: the hub refused or cannot be reached.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        changes: list[Any] = [CommitOperationAdd(name, folder / name) for name in sorted(names)]
        changes += [CommitOperationDelete(name, is_folder=False) for name in sorted(gone)]
        doing = f"push to {self.repo_id!r}"
        with transport(xet=speaks_xet(self.endpoint)), failing_as_ours(doing, self.repo_id):
            done = _api(self.endpoint, self.token).create_commit(
                self.repo_id, changes, commit_message=message, parent_commit=self.head
            )
            return str(done.commit_url)


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
