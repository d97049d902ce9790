"""The PyTorch runner: packed batches of sequences, raw tensors as they are.

Shape letters: T tokens of all sequences, B sequences, H hidden.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import psutil
import torch
from torch import Tensor
from typing_extensions import override

from model_base.auto import model_module
from model_base.checkpoints.torch_bin import numpy_dtype, to_numpy
from model_base.configs import CONFIGS
from model_base.constants import UNLIMITED
from model_base.torch.empty import without_memory
from model_base.torch.layouts import PackedLayout
from service.channel.messages import Load
from service.core.messages import Array, ModelFacts, ModelStats
from service.core.work import SequenceWork, TensorWork, Want, WorkItem, WorkResult
from service.worker.runners.base import InputRejected, Runner
from service.worker.runners.checkpoint import (
    DeviceMissing,
    Stored,
    check_complete,
    find_stored,
    likely_want,
)
from service.worker.runners.checks import LengthLimits, check_ids, check_masks, misfit
from service.worker.runners.linear import speed_up_linears
from service.worker.runners.pooling import pool

_WARM_LENGTHS = ((8,), (64,) * 4, (256,))
_MIN_SHARED_TOKENS = 32
"""Below it, waking a second processor for each operation costs more than it computes."""
_MISFITS = (
    RuntimeError, ValueError, IndexError, TypeError, OverflowError, AttributeError,
)  # fmt: skip
"""What torch and models raise when tensors do not fit."""
_EXAMPLE_TOKENS = 64
_COUNTED_TOKENS = 128
_ROW_MULTIPLE = 8
"""Packed rows are filled up to it: oneDNN compiles a kernel for each number of rows, which costs a
tenth of a forward, and keeps some hundreds of them."""


class TorchRunner(Runner):
    """One model, in eval mode, on one device."""

    def __init__(self, model: Any, order: Load, stored: Stored, device: torch.device) -> None:
        self._model = model
        self._order = order
        self._stored = stored
        self._device = device
        parameters = inspect.signature(model.forward).parameters
        tensors = (Tensor, Tensor | None, inspect.Parameter.empty)
        self._arguments = {name for name, p in parameters.items() if p.annotation in tensors}
        self._packs = "layout" in parameters and "decoder_layout" not in parameters
        self._example = _example(model, 1, _EXAMPLE_TOKENS)
        longer = _example(model, 1, _EXAMPLE_TOKENS + 1)
        growth = {n: longer[n].numel() - t.numel() for n, t in self._example.items()}
        self._sequences = {name: values for name, values in growth.items() if values}
        self._longest: int = model.max_tokens
        if self._sequences and self._longest == UNLIMITED:
            self._longest = order.max_sequence_tokens or UNLIMITED
        self._limits = LengthLimits(
            self._longest,
            is_set=self._longest != model.max_tokens,
            max_batch_tokens=order.max_batch_tokens,
            ids=model.id_limits,
            makes_ids="decoder_input_ids" in self._arguments,  # labels, shifted right
            sounds={
                name: (self._example[name].numel() - (_EXAMPLE_TOKENS - 1) * more, more)
                for name, more in self._sequences.items()
                if name in self._values_per_token
            },
        )
        self._untrained: frozenset[str] = frozenset()
        self._num_parameters = model.num_parameters()
        self._num_trainable = model.num_parameters(only_trainable=True)
        self._num_without_embeddings = model.num_parameters(exclude_embeddings=True)
        self._num_bytes_by_dtype = _bytes_by_dtype(model)  # before layers are repacked

    @classmethod
    @override
    def preload(cls) -> None:
        for config in CONFIGS:
            model_module(config)

    @classmethod
    @override
    def load(cls, order: Load, progress: Callable[[int, int], None]) -> Self:
        torch.set_num_threads(order.threads)
        device = _device(order.device)
        stored = find_stored(order, "torch")
        untrained: set[str] = set()
        model = stored.kind.from_pretrained(
            order.folder,
            config=stored.config,
            torch_dtype=order.dtype,
            _progress=progress,
            _device=device,
            _check=lambda report: untrained.update(check_complete(report.missing, stored.head)),
            **stored.flags,
        )
        runner = cls(model, order, stored, device)
        runner._untrained = frozenset(untrained)
        return runner

    @property
    @override
    def facts(self) -> ModelFacts:
        return ModelFacts(
            architecture=type(self._model).__name__,
            framework="torch",
            dtype=str(self._model.dtype).removeprefix("torch."),
            device=str(self._device),
            task=self._stored.task,
            num_parameters=self._num_parameters,
            num_bytes=sum(self._num_bytes_by_dtype.values()),
            max_length=min(self._longest, self._order.max_length or UNLIMITED),
            pooling="+".join(self._order.pooling) or None,
            inputs=tuple(self._example),
            values_per_token=self._values_per_token,
        )

    @property
    def _values_per_token(self) -> dict[str, float]:
        return {
            name: tensor.numel() / _EXAMPLE_TOKENS
            for name, tensor in self._example.items()
            if tensor.is_floating_point()
        }

    @property
    @override
    def num_lanes(self) -> int:
        return self._order.threads if self._device.type == "cpu" else 1

    @override
    def warm_up(self) -> None:
        speed_up_linears(self._model, self._order.max_batch_tokens)
        for shape in _WARM_LENGTHS:
            lengths = [min(length, self._longest) for length in shape]
            if self._packs:
                ids = [np.zeros(length, np.int32) for length in lengths]
                want = likely_want(self._order, self._stored.head)
                self.run([SequenceWork(i, want) for i in ids], self.num_lanes)
            else:
                example = self._model.example_inputs(len(lengths), max(lengths))
                arrays = {name: tensor.numpy() for name, tensor in example.items()}
                for part in TensorWork(arrays, sum(lengths)).parts(self._order.max_batch_tokens):
                    self.run([part], self.num_lanes)

    @override
    def run(self, batch: Sequence[WorkItem], num_threads: int) -> Sequence[WorkResult]:
        is_long = batch[0].num_tokens >= _MIN_SHARED_TOKENS
        torch.set_num_threads(num_threads if is_long else 1)  # of the calling thread
        with torch.inference_mode():
            if isinstance(batch[0], TensorWork):
                return [self._run_tensors(batch[0].arrays)]
            if not self._packs:
                raise InputRejected(
                    f"{type(self._model).__name__} takes no text alone; give the raw tensors "
                    + ", ".join(self.facts.inputs)
                )
            return self._run_packed([item for item in batch if isinstance(item, SequenceWork)])

    def _run_packed(self, batch: Sequence[SequenceWork]) -> Sequence[WorkResult]:
        lengths = [item.num_tokens for item in batch]
        num_tokens = sum(lengths)
        filler = np.zeros(-num_tokens % _ROW_MULTIPLE, np.int32)
        inputs = {"input_ids": self._tensor([*(item.input_ids for item in batch), filler])}
        has_types = any(item.token_type_ids is not None for item in batch)
        if has_types and "token_type_ids" in self._arguments:
            kinds = (
                np.zeros(item.num_tokens, np.int32) if item.token_type_ids is None
                else item.token_type_ids
                for item in batch
            )  # fmt: skip
            inputs["token_type_ids"] = self._tensor([*kinds, filler])
        layout = PackedLayout(
            lengths, causal=self._model.is_causal, num_filler=len(filler), device=self._device
        )
        is_trunk = all(item.want is not Want.LOGITS for item in batch)
        model = self._model.base_model if is_trunk else self._model
        output = model(**inputs, layout=layout, return_dict=True)
        if not is_trunk:
            return _split(output, lengths)
        hidden_TH = output.last_hidden_state[:num_tokens]
        if batch[0].want is Want.EMBEDDING:
            vectors = pool(hidden_TH, lengths, self._order.pooling).cpu().numpy()
            return [{"embedding": vector} for vector in vectors]
        states = hidden_TH.float().cpu().split(lengths)
        return [{"last_hidden_state": state.numpy()} for state in states]

    def _tensor(self, ids: Sequence[Array]) -> Tensor:
        return torch.from_numpy(np.concatenate(ids, dtype=np.int64)).to(self._device)

    def _run_tensors(self, arrays: Mapping[str, Array]) -> WorkResult:
        self._check(arrays)
        inputs = {name: self._input(array) for name, array in arrays.items()}
        try:
            output = self._model(**inputs, return_dict=True)
        except _MISFITS as error:
            raise misfit(arrays, error) from error
        return {
            name: to_numpy(_plain(value).cpu())
            for name, value in output.items()
            if isinstance(value, Tensor) and name not in self._untrained
        }

    def _check(self, arrays: Mapping[str, Array]) -> None:
        if unknown := sorted(set(arrays) - self._arguments):
            raise InputRejected(
                f"unknown input {unknown[0]!r}; accepted: {', '.join(sorted(self._arguments))}"
            )
        check_ids(arrays, self._model.id_limits)
        check_masks(arrays)
        self._limits.check(arrays)

    def _input(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(np.array(array)).to(self._device)
        return tensor.to(self._model.dtype) if tensor.is_floating_point() else tensor

    @override
    def stats(self, batch_size: int, sequence_length: int | None) -> ModelStats:
        length = self._counted_length(sequence_length)
        try:
            flops = self._model.forward_flops(batch_size, length)
        except _MISFITS as error:
            raise InputRejected(
                f"{batch_size} sequences of {length} tokens are more than can be counted"
            ) from error
        inputs = _example(self._model, batch_size, length)
        is_text = all(name.endswith("input_ids") for name in inputs)
        return ModelStats(
            num_parameters=self._num_parameters,
            num_trainable=self._num_trainable,
            num_without_embeddings=self._num_without_embeddings,
            num_bytes_by_dtype=self._num_bytes_by_dtype,
            batch_size=batch_size,
            sequence_length=length if self._sequences else None,
            inputs={name: tuple(tensor.shape) for name, tensor in inputs.items()},
            floating_point_ops=_unpacked(self._model).floating_point_ops(inputs)
            if is_text
            else None,
            forward_flops=flops,
            resident_bytes=psutil.Process().memory_info().rss,
        )

    def _counted_length(self, given: int | None) -> int:
        limit: int = self._model.max_tokens
        if given is None:
            return min(_COUNTED_TOKENS, limit)
        if not self._sequences:
            raise InputRejected(
                f"sequence_length is {given}, but {type(self._model).__name__} takes no sequences, "
                f"only {', '.join(self._example)}; accepted: none"
            )
        if given > limit:
            raise InputRejected(
                f"sequence_length is {given}; accepted: 1 to {limit}, the positions "
                "that the model has"
            )
        return given


def _unpacked(model: Any) -> Any:
    """The model as it was made, without memory: repacked layers have no parameters to count."""
    with without_memory():
        return type(model)(model.config)


def _example(model: Any, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
    """The forward's arguments of that size, without memory."""
    with torch.device("meta"):
        example: dict[str, Tensor] = model.example_inputs(batch_size, sequence_length)
    return example


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing(f"device is {name!r}, but torch finds no GPU here; accepted: cpu")
    return device


def _bytes_by_dtype(model: torch.nn.Module) -> dict[str, int]:
    """Bytes of parameters and buffers, shared ones once."""
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    sizes: dict[str, int] = {}
    for tensor in tensors.values():
        name = numpy_dtype(tensor.dtype).name
        sizes[name] = sizes.get(name, 0) + tensor.numel() * tensor.element_size()
    return sizes


def _plain(tensor: Tensor) -> Tensor:
    """float32 for the half types: clients have no name for bfloat16."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _split(output: Any, lengths: Sequence[int]) -> list[dict[str, Array]]:
    """A head's packed output, one mapping a sequence."""
    results: list[dict[str, Array]] = [{} for _ in lengths]
    for name, value in output.items():
        if not isinstance(value, Tensor):
            continue
        if name in output.per_sequence:
            parts = value.float().cpu().unbind()
        else:
            parts = torch.split(value[: sum(lengths)].float().cpu(), list(lengths))
        for result, part in zip(results, parts, strict=True):
            result[name] = part.numpy()
    return results


RUNNER = TorchRunner
