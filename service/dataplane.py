"""The only door from a protocol to the rest of the service."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from typing_extensions import override

from service.core.errors import (
    BadRequest,
    DeadlineExceeded,
    ModelNotFound,
    ModelNotReady,
    TooLarge,
    UnsupportedInput,
)
from service.core.messages import (
    InferRequest,
    InferResponse,
    ModelEvent,
    ModelFacts,
    ModelInfo,
    ModelSpec,
    ModelState,
    ModelStats,
    Readiness,
    TensorInputs,
    TextInputs,
)
from service.core.metrics import Metrics
from service.core.settings import BatchingSettings, LimitSettings
from service.core.signatures import (
    choose_signature,
    plain_arrays,
    signature_parts,
    signature_tokens,
)
from service.core.work import TensorWork, WorkItem, join_parts
from service.hub.desk import HubDesk
from service.repository.repository import Repository
from service.repository.version import ModelVersion
from service.tasks import UnknownTask

_CHARS_PER_TOKEN = 3
_MAX_WHOLE_TOKENS = 65_536
_LEAVING = "the service is shutting down"


class DataPlane(Protocol):
    """What a protocol may ask for. Every method raises a ``ServiceError`` when it cannot."""

    @property
    def hub(self) -> HubDesk:
        """Jobs between the hub and this machine, and the cache."""

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answer one request."""

    def default_model(self) -> str:
        """Name of the model that protocols without a model field mean.

        The first one that makes an embedding of a text; the first of all if none does.
        """

    def models(self) -> Sequence[ModelInfo]:
        """Every version known, in the order they came."""

    def model(self, name: str, version: str | None = None) -> ModelInfo:
        """One version; None means the one that takes the traffic."""

    async def stats(self, name: str, batch_size: int, sequence_length: int | None) -> ModelStats:
        """Size and cost of a loaded model for inputs ``[batch_size, sequence_length]``."""

    async def load(self, spec: ModelSpec) -> ModelInfo:
        """Accept a new model or version; returns at once, with the state QUEUED."""

    async def reload(self, name: str) -> ModelInfo:
        """Load an unloaded or failed model again; returns at once."""

    async def unload(self, name: str) -> ModelInfo:
        """Drain and end the worker; the entry stays. Returns at once."""

    async def delete(self, name: str) -> None:
        """Unload and forget the model."""

    def events(self, name: str | None = None) -> AsyncIterator[ModelEvent]:
        """The present state of every version (or of one model's), then each change."""

    def readiness(self) -> Readiness:
        """Whether every model that was asked for at start is ready and none drains."""


class LocalDataPlane(DataPlane):
    """The data plane of this process.

    Args:
        repository: the models.
        limits: what one request may ask for.
        metrics: of the service.
        hub: jobs and the cache.
        required: names of the models without which the service is not ready.
        max_batch_tokens: rows of raw tensors are computed in groups of so many tokens.
    """

    def __init__(
        self,
        repository: Repository,
        limits: LimitSettings,
        metrics: Metrics,
        hub: HubDesk,
        required: Sequence[str] = (),
        max_batch_tokens: int = BatchingSettings().max_tokens,
    ) -> None:
        self._max_batch_tokens = max_batch_tokens
        self._repository = repository
        self._hub = hub
        self._limits = limits
        self._metrics = metrics
        self._required = tuple(required)
        self._leaving = False
        self._deadlines: set[asyncio.Timeout] = set()
        self._grace_is_over = False

    @property
    @override
    def hub(self) -> HubDesk:
        return self._hub

    @override
    async def infer(self, request: InferRequest) -> InferResponse:
        timeout_s = min(request.timeout_s or self._limits.request_timeout_s, 86_400)
        try:
            async with asyncio.timeout(0 if self._grace_is_over else timeout_s) as deadline:
                self._deadlines.add(deadline)
                try:
                    return await self._infer(request, deadline)
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            if self._grace_is_over:
                raise ModelNotReady(request.model, "draining", _LEAVING) from None
            raise DeadlineExceeded(timeout_s) from None

    async def _infer(self, request: InferRequest, deadline: asyncio.Timeout) -> InferResponse:
        version = self._repository.get(request.model, request.version)
        admission = version.admission
        if not version.is_restarting:
            version.client  # noqa: B018  (refuses at once what is loading, failed or unloaded)
        try:
            with admission.admit(self._estimate(request, version)) as ticket:
                self._show_queue(version)
                if version.is_restarting:
                    await version.wait_until_ready()
                task, client = version.task, version.client
                work = await self._prepare(request, version, deadline)
                num_tokens = sum(item.num_tokens for item in work)
                admission.correct(ticket, num_tokens)
                results = await client.infer(work)
        finally:
            self._show_queue(version)
        if isinstance(request.inputs, TensorInputs):
            outputs, name = join_parts(results), "tensors"
        else:
            outputs, name = task.finish(results, work, request.parameters), task.name
        spec = version.spec
        return InferResponse(spec.name, spec.version, name, outputs, num_tokens)

    def _estimate(self, request: InferRequest, version: ModelVersion) -> int:
        """Tokens to come, known before tokenising: within the limit each text may have."""
        inputs = request.inputs
        if isinstance(inputs, TensorInputs):
            rows = max((a.shape[0] for a in inputs.arrays.values() if a.ndim), default=0)
            self._check_count(rows)
            if version.facts and version.facts.signatures:
                name = choose_signature(request.signature, version.facts)
                return signature_tokens(version.facts.signatures[name], inputs.arrays)
            return _num_tokens(inputs, version.facts)
        is_text = isinstance(inputs, TextInputs)
        items: Sequence[Sequence[object]] = inputs.texts if is_text else inputs.sequences  # type: ignore[union-attr]
        self._check_count(len(items))
        longest = version.facts.max_length if version.facts else 512
        per_token = _CHARS_PER_TOKEN if is_text else 1
        return sum(min(longest, len(item) // per_token + 2) for item in items)

    def _check_count(self, count: int) -> None:
        limit = self._limits.max_inputs
        if count > limit:
            raise TooLarge("inputs in one request", count, limit, "limits.max_inputs")

    async def _prepare(
        self, request: InferRequest, version: ModelVersion, deadline: asyncio.Timeout
    ) -> Sequence[WorkItem]:
        inputs = request.inputs
        if isinstance(inputs, TensorInputs):
            parts = self._tensor_parts(request.signature, inputs, version.facts, deadline)
            if len(parts) == 1 and parts[0].num_tokens > _MAX_WHOLE_TOKENS:
                raise TooLarge(
                    "tokens of tensors that cannot be split by rows", parts[0].num_tokens,
                    _MAX_WHOLE_TOKENS, "none: send fewer rows",
                )  # fmt: skip
            return parts
        if request.signature is not None:
            raise BadRequest("signature is given for texts or token ids; accepted: raw tensors")
        started = time.monotonic()
        task = version.task
        if request.task is not None and request.task != task.name:
            raise _wrong_task(request.task, version)
        work = await asyncio.to_thread(task.prepare, inputs, request.parameters)
        labels = version.spec.name, version.spec.version
        self._metrics.tokenize_seconds.labels(*labels).observe(time.monotonic() - started)
        if not work:
            raise BadRequest("inputs is empty; accepted: at least one")
        return work

    def _tensor_parts(
        self,
        signature: str | None,
        inputs: TensorInputs,
        facts: ModelFacts | None,
        deadline: asyncio.Timeout,
    ) -> list[TensorWork]:
        assert facts is not None  # of a version that is ready
        if not inputs.arrays:
            raise BadRequest("no tensors; accepted: the model's forward arguments by name")
        name = choose_signature(signature, facts)
        if name:
            deadline_s = deadline.when() or math.inf
            return signature_parts(
                name, facts.signatures[name], inputs.arrays, self._max_batch_tokens, deadline_s
            )
        arrays = plain_arrays(inputs.arrays)
        return TensorWork(arrays, _num_tokens(inputs, facts)).parts(self._max_batch_tokens)

    def _show_queue(self, version: ModelVersion) -> None:
        labels = version.spec.name, version.spec.version
        self._metrics.queued_requests.labels(*labels).set(version.admission.num_requests)
        self._metrics.queued_tokens.labels(*labels).set(version.admission.num_tokens)

    @override
    def default_model(self) -> str:
        versions = self._repository.all()
        if not versions:
            raise ModelNotFound("(default)")
        embedders = (v for v in versions if v.facts is not None and v.facts.pooling)
        return next(embedders, versions[0]).spec.name

    @property
    def num_requests(self) -> int:
        """Requests admitted and not answered, of all models."""
        return sum(version.admission.num_requests for version in self._repository.all())

    @override
    def models(self) -> Sequence[ModelInfo]:
        return [version.info for version in self._repository.all()]

    @override
    def model(self, name: str, version: str | None = None) -> ModelInfo:
        return self._repository.get(name, version).info

    @override
    async def stats(self, name: str, batch_size: int, sequence_length: int | None) -> ModelStats:
        try:
            async with asyncio.timeout(self._limits.request_timeout_s):
                client = self._repository.get(name).client
                return await client.stats(batch_size, sequence_length)
        except TimeoutError:
            raise DeadlineExceeded(self._limits.request_timeout_s) from None

    @override
    async def load(self, spec: ModelSpec) -> ModelInfo:
        return self._repository.load(spec)

    @override
    async def reload(self, name: str) -> ModelInfo:
        return self._repository.reload(name)

    @override
    async def unload(self, name: str) -> ModelInfo:
        return self._repository.unload(name)

    @override
    async def delete(self, name: str) -> None:
        await self._repository.delete(name)

    @override
    def events(self, name: str | None = None) -> AsyncIterator[ModelEvent]:
        return self._repository.events(name)

    @override
    def readiness(self) -> Readiness:
        waiting = []
        for name in self._required:
            try:
                state = self._repository.get(name).state
            except ModelNotFound:
                continue  # deleted on purpose
            if state not in (ModelState.READY, ModelState.UNLOADED):
                waiting.append(f"{name}: {state}")
        if self._leaving:
            waiting.append(_LEAVING)
        return Readiness(not waiting, tuple(waiting))

    def leave(self, grace_s: float) -> None:
        """Stop being ready, and end the requests that are not answered in ``grace_s`` seconds.

        Called again with less, it ends them earlier.
        """
        self._leaving = True
        asyncio.get_running_loop().call_later(grace_s, self._end_requests)

    def _end_requests(self) -> None:
        self._grace_is_over = True
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0)


def _wrong_task(wanted: str, version: ModelVersion) -> UnsupportedInput:
    """Say what the model does and how it is asked, in place of a task that it does not do."""
    name, task, facts = version.spec.name, version.task, version.facts
    is_text = task.name != UnknownTask.name
    raw = f"raw tensors ({', '.join(facts.inputs) if facts else 'of its forward'})"
    does = task.name if is_text or not facts else facts.task
    return UnsupportedInput(
        f"model {name!r} does {does} on {'texts' if is_text else raw}, over the native route "
        f"/models/{name}/predict; accepted here: a model that does {wanted} on texts"
    )


def _num_tokens(inputs: TensorInputs, facts: ModelFacts | None) -> int:
    """What raw tensors cost: ``[batch, length, ...]`` of tokens, or values of pixels and sound."""
    values = facts.values_per_token if facts else {}
    costs = [
        math.ceil(array.size / values[name]) if name in values else math.prod(array.shape[:2])
        for name, array in inputs.arrays.items()
        if not values or name in values or name.endswith("input_ids")
    ]
    return max(costs, default=1) or 1
