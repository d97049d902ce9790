"""TensorFlow Serving's REST on the wire."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.protocols.versions import VersionStatus


class TfPredictBody(BaseModel):
    """Body of POST /v1/models/{name}:predict. Fields it does not know are ignored, as its own are.

    Numbers are strict JSON: no NaN and no Infinity.
    """

    model_config = ConfigDict(strict=True)
    signature_name: str | None = Field(
        None, max_length=200, description="Default: serving_default, or the only one there is."
    )
    instances: Any = Field(
        None,
        description="Row format: objects of inputs by name, or values if there is one input.",
    )
    inputs: Any = Field(
        None, description="Columnar format: tensors by name, or the only input's tensor."
    )


class Predictions(BaseModel):
    """Answer of :predict: ``predictions`` to ``instances``, ``outputs`` to ``inputs``.

    The name of an output is left out if there is one. NaN, Infinity and -Infinity are bare words,
    bytes that are no text ``{"b64": ...}``.
    """

    predictions: list[Any] | None = None
    outputs: Any = None


class StatusAnswer(BaseModel):
    """The state of one version."""

    model_version_status: list[VersionStatus]


class ModelSpec(BaseModel):
    """Which model the metadata are of."""

    name: str
    signature_name: str
    version: str


class MetadataAnswer(BaseModel):
    """Every signature, in protobuf's JSON of ``SignatureDefMap``."""

    model_spec: ModelSpec
    metadata: dict[str, Any]


class ErrorAnswer(BaseModel):
    """Body of every failure."""

    error: str
