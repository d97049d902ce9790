"""Where the files of a model come from: a folder, or a hub repository through its cache."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import override

from model_base.errors import HubUnavailable

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


class ModelFiles(Protocol):
    """Finds the files of one model by their plain names."""

    @property
    def label(self) -> str:
        """What the user called it; for messages."""

    def find(self, name: str) -> Path | None:
        """The local path of a file, fetched if need be; None if the model has no such file."""


@dataclass(frozen=True, slots=True)
class Folder(ModelFiles):
    """A model folder on disk."""

    path: Path

    @property
    @override
    def label(self) -> str:
        return str(self.path)

    @override
    def find(self, name: str) -> Path | None:
        path = self.path / name
        return path if os.path.isfile(path) else None  # Path.is_file raises on what is too long


@dataclass(frozen=True, slots=True)
class HubRepository(ModelFiles):
    """A model repository on the hub, cached by huggingface_hub.

    Attributes:
        options: arguments of ``huggingface_hub.hf_hub_download``.
    """

    repo_id: str
    revision: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    @override
    def label(self) -> str:
        return self.repo_id

    @override
    def find(self, name: str) -> Path | None:
        from huggingface_hub import errors as hub
        from huggingface_hub import hf_hub_download

        try:
            path = hf_hub_download(self.repo_id, name, revision=self.revision, **self.options)
        except hub.LocalEntryNotFoundError as error:
            if self.options.get("local_files_only"):
                return None
            raise HubUnavailable(
                f"cannot reach the hub, and {name} of {self.repo_id!r} is not in the cache"
            ) from error
        except hub.EntryNotFoundError:
            return None
        except hub.RevisionNotFoundError as error:
            raise HubUnavailable(
                f"{self.repo_id!r} has no revision {self.revision!r} on the hub"
            ) from error
        except hub.GatedRepoError as error:
            raise HubUnavailable(
                f"{self.repo_id!r} is gated: ask for access on the hub, then pass a token"
            ) from error
        except hub.RepositoryNotFoundError as error:
            raise HubUnavailable(
                f"{self.repo_id!r} is neither a local folder nor a model on the hub; if it is "
                "private, log in with `hf auth login` or pass use_auth_token"
            ) from error
        except Exception as error:  # any transport's own error; all mean the same to the caller
            raise HubUnavailable(f"cannot get {name} of {self.repo_id!r}: {error}") from error
        return Path(path)


HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision")
"""Arguments of every ``from_pretrained`` that say how the hub is asked."""


def pop_hub_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take those arguments, and ``use_auth_token``, out of ``kwargs``, as ``model_files`` wants."""
    options = {key: kwargs.pop(key) for key in HUB_OPTIONS if key in kwargs}
    if (token := kwargs.pop("use_auth_token", None)) is not None:
        options["token"] = token
    return options


def model_files(
    name_or_path: str | Path, *, revision: str | None = None, **options: Any
) -> ModelFiles:
    """The files of a folder if there is one, else of the hub repository of that name.

    Args:
        name_or_path: a folder, or ``name`` or ``owner/name`` on the hub.
        revision: branch, tag or commit on the hub.
        options: arguments of ``hf_hub_download``.

    Raises:
        HubUnavailable: neither a folder nor a possible name on the hub.
    """
    path = Path(name_or_path)
    if str(name_or_path) and path.is_dir():
        return Folder(path)
    if not _HUB_ID.fullmatch(str(name_or_path)) or path.exists():
        raise HubUnavailable(
            f"{str(name_or_path)!r} is not a folder here, and it cannot be a model on the hub"
        )
    return HubRepository(str(name_or_path), revision, options)
