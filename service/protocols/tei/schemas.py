"""Text Embeddings Inference's embed and info on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.protocols.inputs import TextOrTokens


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Direction = Annotated[Literal["left", "right"], BeforeValidator(_lower)]


class EmbedBody(BaseModel):
    """Body of POST /embed. Fields it does not know are ignored, as TEI does."""

    model_config = ConfigDict(strict=True)
    inputs: TextOrTokens = Field(description="What to embed; token ids include special tokens.")
    truncate: bool | None = Field(False, description="Cut inputs longer than the model takes.")
    truncation_direction: Direction = Field(
        "right", description="Which end is cut: Right or Left, in any case."
    )
    prompt_name: str | None = Field(
        None, max_length=200, description="Prompt of the model to put before each text."
    )
    normalize: bool = Field(True, description="Scale vectors to length 1.")
    dimensions: Any = Field(
        None, description="Refused: vectors have the model's own size and are not truncated."
    )


class InfoAnswer(BaseModel):
    """Answer of GET /info, with TEI's field names. What has no meaning here is null."""

    model_config = ConfigDict(protected_namespaces=())
    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, Any] | None
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None


class ErrorAnswer(BaseModel):
    """Body of every failure."""

    error: str
    error_type: str
