"""PushToHubMixin: what can be saved can be pushed to the hub.

Source: transformers 4.19.2, ``utils.hub.PushToHubMixin``. There a push goes through a git clone;
here it is one commit over HTTP of the files that saving writes.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from model_base.hub.clone import Clone
from model_base.hub.repository import WritableRepository, parse_url
from model_base.log import get_logger

logger = get_logger("hub")

PUSH_OPTIONS = (
    "repo_path_or_name", "repo_url", "use_temp_dir", "commit_message", "organization", "private",
    "use_auth_token",
)  # fmt: skip
"""Arguments of ``push_to_hub`` that every ``save_pretrained`` takes, too."""

_CARD_NAMES = {"finetuned_from": "base_model", "tasks": "pipeline_tag", "dataset": "datasets"}
"""Fields of a model card by the names of Transformers 4.19."""


class PushToHubMixin:
    """Adds ``push_to_hub`` to a class with ``save_pretrained``."""

    def push_to_hub(
        self,
        repo_path_or_name: str | Path | None = None,
        repo_url: str | None = None,
        use_temp_dir: bool = False,
        commit_message: str | None = None,
        organization: str | None = None,
        private: bool | None = None,
        use_auth_token: bool | str | None = None,
        max_shard_size: int | str = "10GB",
        **model_card_kwargs: Any,
    ) -> str:
        """Save to a repository on the hub, which is made if need be, in one commit.

        Files that saving does not write stay as they are in the repository, but for weight files
        that the new ones replace. Nothing to change makes no commit. A local folder that was pushed
        before is first brought to what the repository has become since.

        Args:
            repo_path_or_name: a local folder, whose last part names the repository, in your own
                namespace or the organization's. Default: the name in ``repo_url``.
            repo_url: address of the repository, or ``owner/name``, in place of that name.
            use_temp_dir: save nothing into the local folder.
            commit_message: default ``"add model"``, ``"add config"`` or ``"add tokenizer"``.
            organization: whose namespace the repository is in.
            private: whether a new repository is; None is the namespace's default.
            use_auth_token: the token; True is the stored one. Default: True without a
                ``repo_url``; the stored one is not sent to another hub unless it is True.
            max_shard_size: most bytes of a weight file, or text such as ``"512MiB"``.
            model_card_kwargs: fields of the model card (``language``, ``license``, ``tags``, …):
                with any, README.md is written.

        Returns:
            The address of the commit; of the last one if there was nothing to change.

        Raises:
            HubConflict: somebody else has changed the same files meanwhile, or files that were
                changed in the local folder, too.
            HubUnavailable: the hub refused or cannot be reached; nothing was saved, if it was
                before that.
            ValueError: neither ``repo_path_or_name`` nor ``repo_url``, or no such address.
        """
        repository = _opened(repo_path_or_name, repo_url, organization, private, use_auth_token)
        local = Path(repo_path_or_name or repository.repo_id.rpartition("/")[2])

        def save(folder: Path) -> None:
            self.save_pretrained(folder, max_shard_size=max_shard_size)  # type: ignore[attr-defined]
            if model_card_kwargs:
                _write_card(folder, repository.repo_id, model_card_kwargs)

        return self._save_and_push(
            repository, None if use_temp_dir else local, save, commit_message
        )

    def _save_pushing(
        self, folder: Path, save: Callable[[Path], None], options: Mapping[str, Any]
    ) -> None:
        """``save_pretrained(push_to_hub=True)``: the folder's name is the default repository's.

        Args:
            folder: where the files shall be.
            save: saves into a folder.
            options: of ``PUSH_OPTIONS``; ``use_temp_dir`` changes nothing here.
        """
        repository = _opened(
            options.get("repo_path_or_name") or folder, options.get("repo_url"),
            options.get("organization"), options.get("private"), options.get("use_auth_token"),
        )  # fmt: skip
        url = self._save_and_push(repository, folder, save, options.get("commit_message"))
        logger.info("pushed to the hub in this commit: %s", url)

    def _save_and_push(
        self,
        repository: WritableRepository,
        local: Path | None,
        save: Callable[[Path], None],
        message: str | None,
    ) -> str:
        """Save into ``local``, or nowhere for long, and commit what was written."""
        if local is not None:
            if local.is_file():
                raise NotADirectoryError(f"{local} is a file; a folder is needed to save into")
            local.mkdir(parents=True, exist_ok=True)
            Clone(local, repository).pull()
        with tempfile.TemporaryDirectory(prefix=".pushing-", dir=local) as name:
            folder = Path(name)
            save(folder)
            names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
            if local is not None:
                for file in names:
                    (local / file).parent.mkdir(parents=True, exist_ok=True)
                    (folder / file).replace(local / file)
                present = [path.name for path in local.iterdir() if path.is_file()]
                for file in _replaced(self, present, names):
                    (local / file).unlink()
            url = repository.commit(
                local or folder,
                names,
                message or f"add {_kind(self)}",
                _replaced(self, repository.files, names),
            )
        if local is not None:
            Clone(local, repository).note(url.rpartition("/")[2], names)
        return url

    def _belongs_to_earlier_save(self, file: str) -> bool:
        """Whether saving replaces a file of this name even if it does not write it."""
        return False


def pop_push_options(kwargs: dict[str, Any], *without_effect: str) -> dict[str, Any]:
    """Take the arguments of a push out of those of ``save_pretrained``.

    Raises:
        TypeError: others are left than those ``without_effect``.
    """
    options = {key: kwargs.pop(key) for key in PUSH_OPTIONS if key in kwargs}
    if unknown := sorted(kwargs.keys() - set(without_effect)):
        raise TypeError(f"save_pretrained has no argument {', '.join(unknown)}")
    return options


def _opened(
    path_or_name: str | Path | None,
    url: str | None,
    organization: str | None,
    private: bool | None,
    token: bool | str | None,
) -> WritableRepository:
    if path_or_name is None and url is None:
        raise ValueError("push_to_hub needs repo_path_or_name or repo_url; got neither")
    if url is not None:
        endpoint, name = parse_url(url)
        token = False if token is None and endpoint is not None and _elsewhere(endpoint) else token
    else:
        if "\0" in str(path_or_name):
            raise ValueError(f"repo_path_or_name is {str(path_or_name)!r}; accepted: a path")
        endpoint, name = None, Path(str(path_or_name)).resolve().name
        name = f"{organization}/{name}" if organization else name
        token = True if token is None else token
    return WritableRepository.open(name, endpoint=endpoint, private=private, token=token)


def _elsewhere(endpoint: str) -> bool:
    """Whether it is another hub than the one that the stored token is for."""
    from huggingface_hub import constants

    return endpoint.rstrip("/") != constants.ENDPOINT


def _replaced(self: PushToHubMixin, present: Iterable[str], written: set[str]) -> list[str]:
    return [f for f in present if f not in written and self._belongs_to_earlier_save(f)]


def _kind(self: object) -> str:
    for kind in ("tokenizer", "config"):
        if kind.title() in type(self).__name__:
            return kind
    return "model"


def _write_card(folder: Path, repo_id: str, fields: Mapping[str, Any]) -> None:
    from huggingface_hub import ModelCard, ModelCardData

    data = {_CARD_NAMES.get(name, name): value for name, value in fields.items()}
    title = data.setdefault("model_name", repo_id.rpartition("/")[2])
    card = ModelCard(f"---\n{ModelCardData(**data).to_yaml()}\n---\n\n# {title}\n")
    card.save(folder / "README.md")
