"""Settings, read once in ``create_app`` and passed down; nobody else reads the environment."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class AuthSettings(BaseModel):
    """Who may call.

    With ``api_keys`` alone, each of them opens every route. With ``admin_keys`` too, an API key
    is good for inference and reading, an admin key for everything.
    """

    model_config = _FROZEN
    enabled: bool = True
    api_keys: tuple[SecretStr, ...] = ()
    admin_keys: tuple[SecretStr, ...] = ()


class LimitSettings(BaseModel):
    """What one request may ask for, and how much may wait.

    ``max_input_tokens`` bounds the token ids a client sends for one input; what the model takes
    is checked by its task. ``max_sequence_tokens`` is the limit of a model that has none of its
    own: T5, whose positions are relative, and sound (in frames). Memory grows with its square: T5
    needs some 12 bytes for each pair of tokens and each head, 0.6 GB for 2,048 tokens and 12 heads.
    """

    model_config = _FROZEN
    max_body_bytes: Annotated[int, Field(ge=1)] = 16 * 2**20
    body_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    max_inputs: Annotated[int, Field(ge=1)] = 2048
    max_input_tokens: Annotated[int, Field(ge=1)] = 131_072
    max_sequence_tokens: Annotated[int, Field(ge=1, le=2**20)] = 2048
    max_queued_requests: Annotated[int, Field(ge=1)] = 1024
    max_queued_tokens: Annotated[int, Field(ge=1)] = 500_000


class BatchingSettings(BaseModel):
    """A batch is closed when it holds ``max_tokens`` tokens or nothing more is waiting."""

    model_config = _FROZEN
    max_tokens: Annotated[int, Field(ge=1, le=65536)] = 1024


class WorkerSettings(BaseModel):
    """How worker processes are run. ``threads`` 0 means the processors this process may use."""

    model_config = _FROZEN
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    grace_s: Annotated[float, Field(ge=0)] = 25.0
    load_timeout_s: Annotated[float, Field(gt=0)] = 1800.0


class SyncSettings(BaseModel):
    """How models go between the hub and this machine.

    Attributes:
        token: for the hub; without one the stored token of huggingface_hub is used.
        allowed: owners (``acme``) and repositories (``acme/model``) that may be pulled, loaded and
            pushed to; empty means all.
        parallel: jobs that run at once, and as many downloads of models that are loaded; others
            wait.
        database: file in which jobs outlive a restart; its default is ``model-base-jobs.sqlite``
            in huggingface_hub's folder (``HF_HOME``).
    """

    model_config = _FROZEN
    token: SecretStr | None = None
    allowed: tuple[str, ...] = ()
    parallel: Annotated[int, Field(ge=1, le=64)] = 2
    database: Path | None = None

    @property
    def hub_token(self) -> str | None:
        """The token as it is sent."""
        return None if self.token is None else self.token.get_secret_value()

    def allows(self, repo_id: str) -> bool:
        """Whether a repository, ``owner/name``, may be used."""
        owner = repo_id.partition("/")[0]
        return not self.allowed or owner in self.allowed or repo_id in self.allowed


class Settings(BaseSettings):
    """Whole-service settings. ``MODEL_BASE_LIMITS__MAX_INPUTS=8`` sets ``limits.max_inputs``.

    Attributes:
        model_folders: folders from which models may be loaded at run time. A SavedModel is code and
            runs with the rights of the service: whoever writes to these folders is trusted.
        hub: whether hub ids may be loaded at run time.
    """

    model_config = SettingsConfigDict(
        env_prefix="MODEL_BASE_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    model_folders: tuple[Path, ...] = ()
    hub: bool = True
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    batching: BatchingSettings = BatchingSettings()
    worker: WorkerSettings = WorkerSettings()
    sync: SyncSettings = SyncSettings()

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def needs_key(self) -> bool:
        """True when clients must send one."""
        return self.auth.enabled and self.has_keys

    @property
    def has_keys(self) -> bool:
        """True when at least one key is configured."""
        return bool(self.auth.api_keys or self.auth.admin_keys)
