"""The service's own routes on the wire."""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.core.messages import ModelState
from service.core.names import name_problem, version_problem
from service.protocols.base import BadField
from service.protocols.inputs import TEXT_OR_TOKENS_SCHEMAS


def _check_name(name: str) -> str:
    if problem := name_problem(name):
        raise PydanticCustomError("model_name", "{problem}", {"problem": problem})
    return name


def _check_source(source: str) -> str:
    for bad, why in (("://", "URLs are not loaded"), ("..", "'..' is not followed")):
        if bad in source:
            raise PydanticCustomError(
                "model_source", "{why}; give a folder or a hub id owner/name", {"why": why}
            )
    if not source.isprintable():
        raise PydanticCustomError("model_source", "has a character that cannot be printed")
    return source


def _check_version(version: str) -> str:
    if problem := version_problem(version):
        raise PydanticCustomError("model_version", "{problem}", {"problem": problem})
    return version


Name = Annotated[str, AfterValidator(_check_name)]
PathName = Annotated[str, Path(description="Name of a model; may be owner/name."), AfterValidator(
    _check_name
)]  # fmt: skip
Framework = Annotated[
    str, Field(pattern="^[a-z_]{1,32}$", description="auto, or the name of a framework.")
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"], Field(description="auto: as stored.")
]
Device = Annotated[
    str, Field(pattern="^(auto|cpu|cuda:[0-9]{1,3})$", description="auto, cpu or cuda:N.")
]
TextTokensOrTensors = Annotated[
    Any, WithJsonSchema({"anyOf": [*TEXT_OR_TOKENS_SCHEMAS, {"type": "object"}]})
]


class StrictBody(BaseModel):
    """A body that has no other fields; the first one is refused, not each."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, body: Any) -> Any:
        if isinstance(body, dict):
            for name in body:
                if name not in cls.model_fields:
                    raise BadField(name, f"not a field; accepted: {', '.join(cls.model_fields)}")
        return body


class LoadBody(StrictBody):
    """Body of POST /models."""

    name: Name = Field(description="Name under which the model is served.")
    source: Annotated[str, AfterValidator(_check_source)] = Field(
        min_length=1, max_length=4096,
        description="Folder inside an allowed model folder, or a hub id owner/name[@revision].",
    )  # fmt: skip
    version: Annotated[str, AfterValidator(_check_version)] = Field(
        "", description="Default: the highest of a SavedModel's numbered folders, else 1."
    )
    framework: Framework = "auto"
    dtype: Dtype = "auto"
    device: Device = "auto"


class PredictBody(StrictBody):
    """Body of POST /models/{name}/predict."""

    inputs: TextTokensOrTensors = Field(
        description="Texts, token ids, a question with its context, or the model's own arguments "
        'as nested lists by name; for a SavedModel also texts, and bytes as {"b64": "..."}.'
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Of the model's task; unknown ones are refused."
    )
    signature: str | None = Field(
        None, max_length=200,
        description="Which signature of a SavedModel the tensors are for; default: "
        "serving_default, or the only one there is.",
    )  # fmt: skip


class PredictAnswer(BaseModel):
    """Answer of POST /models/{name}/predict.

    Numbers JSON cannot write are the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
    """

    model: str
    version: str
    task: str
    outputs: Any
    num_tokens: int


class Tensor(BaseModel):
    """``shape`` has null for an axis of any length, and is null if there may be any axes."""

    dtype: str
    shape: list[int | None] | None


class Signature(BaseModel):
    """What a signature takes and gives, by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class ModelRow(BaseModel):
    """One model version. What is known only after loading is null before.

    ``created`` is in seconds since 1970; ``source`` is left out if it is an absolute path.
    """

    name: str
    version: str
    task: str | None
    state: ModelState
    reason: str
    framework: str | None
    architecture: str | None
    dtype: str | None
    device: str | None
    num_parameters: int | None
    num_bytes: int | None
    max_length: int | None
    signatures: dict[str, Signature] | None = Field(
        description="By name; null for a model that is no SavedModel."
    )
    created: int
    source: str | None = None


class StatsAnswer(BaseModel):
    """Size and cost of a loaded model."""

    name: str
    num_parameters: int
    num_trainable: int | None = Field(description="Null for a SavedModel.")
    num_without_embeddings: int | None = Field(description="Null for a SavedModel.")
    num_bytes_by_dtype: dict[str, int]
    batch_size: int
    sequence_length: int | None = Field(
        description="Tokens of each text or frames of each sound; null for images."
    )
    inputs: dict[str, list[int]] = Field(description="Shapes of the tensors that were counted.")
    floating_point_ops: int | None = Field(
        description="6·N·D, embeddings excluded (arXiv:2001.08361), or exact where that is wrong: "
        "long texts, shared layers; null if the model takes anything but token ids."
    )
    forward_flops: int | None = Field(
        description="Exact count of one forward; null for a SavedModel."
    )
    resident_bytes: int = Field(description="Resident memory of the worker process.")


class LiveAnswer(BaseModel):
    """The process answers."""

    live: Literal[True]


class ReadyAnswer(BaseModel):
    """Whether the service takes traffic, and the models it waits for if not."""

    ready: bool
    waiting_for: list[str]


class ErrorBody(BaseModel):
    """``type`` is one of the service's error kinds, e.g. ``not_found``."""

    type: str
    message: str


class ErrorAnswer(BaseModel):
    """Body of every failure."""

    error: ErrorBody
