"""OpenAI's embeddings and models on the wire."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.protocols.inputs import TextOrTokens
from service.protocols.versions import VersionStatus


class EmbeddingsBody(BaseModel):
    """Body of POST /v1/embeddings. Fields it does not know are ignored, as OpenAI's do."""

    model_config = ConfigDict(strict=True)
    model: str = Field(max_length=200, description="Name of a model of GET /v1/models.")
    input: TextOrTokens = Field(description="What to embed; token ids include special tokens.")
    encoding_format: Literal["float", "base64"] | None = Field(
        "float", description="base64: the vector's little-endian float32 bytes; null: float."
    )
    dimensions: Any = Field(
        None, description="Refused: vectors have the model's own size and are not truncated."
    )


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens the model computed on."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Answer of POST /v1/embeddings, in the order of the inputs."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class ModelAnswer(BaseModel):
    """One model; ``created`` is in seconds since 1970."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelWithVersions(ModelAnswer):
    """One model; OpenAI's clients read the fields above, TensorFlow Serving's its versions."""

    model_version_status: list[VersionStatus]


class ModelsAnswer(BaseModel):
    """Answer of GET /v1/models."""

    object: Literal["list"]
    data: list[ModelAnswer]


class ErrorBody(BaseModel):
    """What went wrong, in OpenAI's vocabulary."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Body of every failure."""

    error: ErrorBody
