"""What can go wrong with the hub, in this library's errors; no raw HTTP exception escapes."""

import contextlib
import errno
from collections.abc import Iterator

from model_base.errors import HubConflict, HubUnavailable, ModelBaseError

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS})


@contextlib.contextmanager
def failing_as_ours(doing: str, repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Inside the block whatever the hub or the transport raises becomes a ``HubUnavailable``.

    Args:
        doing: what is being done, for the message: ``"get config.json of 'owner/name'"``.
        repo_id: the repository.
        revision: branch, tag or commit, if one was asked for.

    Raises:
        HubConflict: somebody else has committed meanwhile.
        HubUnavailable: anything else.
        OSError: the disk is full, or may not be written.
    """
    try:
        yield
    except ModelBaseError:
        raise
    except Exception as error:  # any transport's own error; all mean the same to the caller
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        if "Bearer " in str(error):  # the header that is refused, with the token
            raise HubUnavailable(f"cannot {doing}: the token is not one", "refused") from None
        raise _ours(error, doing, repo_id, revision) from error


def _ours(error: Exception, doing: str, repo_id: str, revision: str | None) -> HubUnavailable:
    from huggingface_hub import errors as hub

    cause = error.__cause__
    if isinstance(error, RuntimeError) and isinstance(cause, Exception):
        error = cause  # of a failed upload
    elif isinstance(error, hub.LocalEntryNotFoundError) and isinstance(cause, hub.HfHubHTTPError):
        error = cause  # the hub was reached, it has refused
    status = error.response.status_code if isinstance(error, hub.HfHubHTTPError) else None
    if isinstance(error, hub.RevisionNotFoundError):
        return HubUnavailable(
            f"{repo_id!r} has no revision {revision or 'main'!r} on the hub", "not_found"
        )
    if isinstance(error, hub.GatedRepoError):
        return HubUnavailable(
            f"{repo_id!r} is gated: ask for access on the hub, then pass a token (use_auth_token)",
            "refused",
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return HubUnavailable(
            f"{repo_id!r} is neither a local folder nor a model on the hub; if it is "
            "private, log in with `hf auth login` or pass use_auth_token",
            "not_found",
        )
    if isinstance(error, hub.LocalTokenNotFoundError):
        return HubUnavailable(
            f"cannot {doing}: there is no stored token; log in with `hf auth login`, or pass the "
            "token itself as use_auth_token",
            "refused",
        )
    if status in (401, 403):
        return HubUnavailable(
            f"cannot {doing}: the hub refused the token (HTTP {status}); pass one that may do this",
            "refused",
        )
    if status == 412:
        return HubConflict(
            f"cannot {doing}: somebody else has committed to it meanwhile; load what is there, "
            "then push again"
        )
    if isinstance(error, hub.OfflineModeIsEnabled):
        return HubUnavailable(f"cannot {doing}: offline mode is on; unset HF_HUB_OFFLINE")
    if isinstance(error, hub.LocalEntryNotFoundError):
        return HubUnavailable(f"cannot {doing}: cannot reach the hub, and it is not in the cache")
    return HubUnavailable(f"cannot {doing}: {error}")
