"""What protocols and the data plane say to each other, in no protocol's words."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class TextInputs:
    """Texts to be tokenised here, in the client's order."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class TokenInputs:
    """Token ids the client made itself, special tokens included; one sequence an entry."""

    sequences: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class TensorInputs:
    """The model's own forward arguments by name, the first axis being the batch."""

    arrays: Mapping[str, Array]


Inputs = TextInputs | TokenInputs | TensorInputs


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One request.

    Attributes:
        model: name under which the model is served.
        inputs: texts, token ids or raw tensors.
        task: what the protocol wants done (huggingface_hub's task names); None means the
            model's own task.
        parameters: of the task; a task refuses by name what it does not know.
        version: None means the one that takes the traffic now.
        signature: of a SavedModel, for raw tensors; None means its default.
        timeout_s: seconds the client gives the request; None means the setting's.
        protocol: label for metrics.
    """

    model: str
    inputs: Inputs
    task: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    signature: str | None = None
    timeout_s: float | None = None
    protocol: str = "native"


@dataclass(frozen=True, slots=True)
class InferResponse:
    """One answer.

    Attributes:
        outputs: feature-extraction with pooling: float32 array ``[inputs, dims]``; without:
            a list of arrays ``[tokens, dims]``; raw tensors: a dict of arrays by output name;
            every other task: a list with one JSON-ready value per input.
        num_tokens: tokens the model computed on, padding not counted.
    """

    model: str
    version: str
    task: str
    outputs: Any
    num_tokens: int


class ModelState(enum.StrEnum):
    """Life of a model version; FAILED can follow any of them."""

    QUEUED = "queued"
    DOWNLOADING = "downloading"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    UNLOADED = "unloaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What is to be served and how.

    Attributes:
        source: folder inside an allowed model folder, or a hub id ``owner/name[@revision]``.
        version: empty means the highest of numbered version folders, else ``1``.
        framework: ``auto`` or a stack's name.
        dtype: ``auto`` (as stored), ``float32``, ``bfloat16`` or ``float16``.
        device: ``auto``, ``cpu`` or ``cuda:N``.
    """

    name: str
    source: str
    version: str = "1"
    framework: str = "auto"
    dtype: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output of a signature.

    Attributes:
        dtype: numpy's name of it, or ``string``.
        shape: None for an axis of any length; None in place of all for any number of axes.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def is_batched(self) -> bool:
        """Whether the first axis has any length."""
        return bool(self.shape) and self.shape[0] is None  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """What one signature of a SavedModel takes and gives, by name."""

    inputs: Mapping[str, TensorFacts]
    outputs: Mapping[str, TensorFacts]

    @property
    def is_batched(self) -> bool:
        """Whether requests can be computed together: the first axis of everything is the batch."""
        return all(t.is_batched for t in (*self.inputs.values(), *self.outputs.values()))


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a worker knows once its model is loaded.

    Attributes:
        task: huggingface_hub's task name.
        max_length: longest sequence the model takes, special tokens included.
        num_bytes: of parameters and buffers in the memory of the worker.
        pooling: how token vectors become one vector (``mean``, ``cls``, …); None if they do not.
        inputs: raw tensors that its forward needs at least.
        values_per_token: for pixels and sound, how many values cost about what a token does.
        signatures: of a SavedModel, by name.
    """

    architecture: str
    framework: str
    dtype: str
    device: str
    task: str
    num_parameters: int
    num_bytes: int
    max_length: int
    pooling: str | None = None
    inputs: tuple[str, ...] = ()
    values_per_token: Mapping[str, float] = field(default_factory=dict)
    signatures: Mapping[str, SignatureFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model version as it stands now. ``facts`` is None until it was loaded once."""

    spec: ModelSpec
    state: ModelState
    reason: str = ""
    facts: ModelFacts | None = None
    created_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One step in a version's life; also sent while bytes arrive.

    Attributes:
        bytes_done: bytes downloaded or loaded so far in this state.
        bytes_total: bytes expected in this state; 0 when unknown.
    """

    name: str
    version: str
    state: ModelState
    bytes_done: int = 0
    bytes_total: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelStats:
    """Size and cost of a loaded model.

    Attributes:
        num_parameters: all parameters, shared ones once.
        num_trainable: those with requires_grad; None for a graph, which does not say.
        num_without_embeddings: all but embedding tables; None if it is not known which they are.
        num_bytes_by_dtype: of parameters and buffers.
        sequence_length: tokens of each text, or frames of each sound, that were counted; None
            if the model takes no sequence (images).
        inputs: shapes of the tensors that were counted, by argument name.
        floating_point_ops: 6·N·D of Kaplan et al. 2020 (arXiv:2001.08361), as
            ``ModuleUtilsMixin.floating_point_ops`` defines it, embeddings excluded; None if the
            model takes anything but token ids.
        forward_flops: exact count of one forward (multiply and add are two); None if not known.
        resident_bytes: resident memory of the worker process.
    """

    num_parameters: int
    num_trainable: int | None
    num_without_embeddings: int | None
    num_bytes_by_dtype: Mapping[str, int]
    batch_size: int
    sequence_length: int | None
    inputs: Mapping[str, tuple[int, ...]]
    floating_point_ops: int | None
    forward_flops: int | None
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the service takes traffic, and the models that keep it from doing so."""

    ready: bool
    waiting_for: Sequence[str] = ()
