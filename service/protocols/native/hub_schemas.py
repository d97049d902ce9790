"""Hub jobs and the cache on the wire."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from service.core.hub import JobState
from service.core.names import REPO_ID, REVISION
from service.protocols.native.schemas import Device, Dtype, Framework, Name, StrictBody

RepoId = Annotated[str, Field(pattern=f"^{REPO_ID}$", examples=["acme/bert"])]
Revision = Annotated[str, Field(pattern=f"^{REVISION}$")]
ShardSize = Annotated[
    str, Field(pattern=r"^[1-9]\d{0,8}(KB|MB|GB|KiB|MiB|GiB)$", examples=["5GB", "512MiB"])
]


class PullBody(StrictBody):
    """Body of POST /hub/pull."""

    repo_id: RepoId = Field(description="owner/name on the hub.")
    revision: Revision | None = Field(None, description="Branch, tag or commit; default: main.")
    load_as: Name | None = Field(
        None, description="Serve it under this name, beside and then in place of what has it now."
    )
    framework: Framework = "auto"
    dtype: Dtype = "auto"
    device: Device = "auto"


class PushBody(StrictBody):
    """Body of POST /hub/push: exactly one of ``model`` and ``path``."""

    repo_id: RepoId = Field(description="owner/name on the hub.")
    model: Name | None = Field(None, description="A served model, whose files are pushed.")
    path: str | None = Field(
        None, min_length=1, max_length=4096, description="A folder inside the model folders."
    )
    commit_message: str | None = Field(None, min_length=1, max_length=500)
    private: bool | None = Field(None, description="Of a new repository.")
    create: bool = Field(True, description="Whether the repository may be made.")
    max_shard_size: ShardSize | None = Field(
        None, description="Most bytes of a weight file; default: the files as they are."
    )


class FollowBody(StrictBody):
    """Body of POST /hub/follow."""

    model: Name = Field(description="Name under which the newest commit is served.")
    repo_id: RepoId = Field(description="owner/name on the hub.")
    branch: Revision = "main"
    interval_s: float = Field(300.0, ge=1, le=86_400, description="Between two looks.")


class FollowRow(BaseModel):
    """What a model follows; ``checked`` is in seconds since 1970."""

    model: str
    repo_id: str
    branch: str
    interval_s: float
    commit: str | None = Field(description="That is served because of it.")
    checked: int | None = Field(description="When the hub last answered.")
    error: str | None = Field(description="Why the newest commit is not served.")


class JobRow(BaseModel):
    """A job. ``bytes_total`` grows while files are found; what is in the cache is not counted.

    ``rate`` is in bytes a second, ``created`` in seconds since 1970.
    """

    id: str
    kind: Literal["pull", "push"]
    state: JobState
    repo_id: str
    revision: str | None
    commit: str | None
    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    rate: float
    error: str | None
    commit_url: str | None
    created: int


class RevisionRow(BaseModel):
    """One commit in the cache."""

    commit: str
    refs: list[str]
    num_bytes: int


class CacheRow(BaseModel):
    """A repository in the cache; ``last_used`` is in seconds since 1970."""

    repo_id: str
    num_bytes: int
    revisions: list[RevisionRow]
    last_used: int
    served_as: list[str]


class Freed(BaseModel):
    """What was deleted."""

    freed_bytes: int
