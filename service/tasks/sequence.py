"""What all tasks on text share: reading inputs, making work."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

import numpy as np

from service.core.errors import BadRequest, UnsupportedInput
from service.core.messages import Array, Inputs, TensorInputs, TokenInputs
from service.core.work import SequenceWork, Want, WorkItem, WorkResult
from service.tasks.context import TaskContext
from service.tasks.parameters import ParametersT, read_parameters
from service.tasks.tokenizer import Encoding, Tokenizer, too_long

_MAX_ID = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TextWork(SequenceWork):
    """A sequence whose answer is told in characters of its text.

    Attributes:
        input_index: the client's input this is (a window of).
        text: that input; empty when the client sent ids.
        encoding: where each token lies in the text; None when the client sent ids.
    """

    input_index: int
    text: str = ""
    encoding: Encoding | None = None


class SequenceTask(abc.ABC, Generic[ParametersT]):
    """A task whose work is token sequences. Subclasses say what they want and how to read it.

    Attributes:
        name: huggingface_hub's task name.
        kind: the struct that reads the task's parameters.
        context: the model.
    """

    name: ClassVar[str]
    kind: type[ParametersT]

    def __init__(self, context: TaskContext) -> None:
        self.context = context

    def prepare(self, inputs: Inputs, parameters: Mapping[str, Any]) -> Sequence[WorkItem]:
        """Turn texts or token ids into sequences; see ``Task.prepare``."""
        chosen = read_parameters(self.kind, parameters, self.name)
        if isinstance(inputs, TensorInputs):
            raise UnsupportedInput(f"{self.name} takes texts or token ids, not tensors")
        if isinstance(inputs, TokenInputs):
            return self._from_ids(self._read_ids(inputs.sequences), chosen)
        _check_texts(inputs.texts)
        return self._from_texts(inputs.texts, chosen)

    def finish(
        self,
        results: Sequence[WorkResult],
        work: Sequence[WorkItem],
        parameters: Mapping[str, Any],
    ) -> Any:
        """Turn arrays into one answer per input; see ``Task.finish``."""
        chosen = read_parameters(self.kind, parameters, self.name)
        sequences = [item for item in work if isinstance(item, SequenceWork)]
        return self._answers(results, sequences, chosen)

    @abc.abstractmethod
    def _answers(
        self, results: Sequence[WorkResult], work: Sequence[SequenceWork], chosen: ParametersT
    ) -> Any:
        """One answer per input, in their order."""

    @property
    def _want(self) -> Want:
        return Want.LOGITS

    @property
    def _tokenizer(self) -> Tokenizer:
        if self.context.tokenizer is None:
            raise UnsupportedInput(
                f"this model has no tokenizer files, so {self.name} cannot read or write text; "
                "send token ids or tensors"
            )
        return self.context.tokenizer

    def _from_texts(self, texts: Sequence[str], chosen: ParametersT) -> Sequence[SequenceWork]:
        encodings = self._tokenizer.encode(
            texts,
            truncate=chosen.truncate,
            truncation_direction=chosen.truncation_direction,
        )
        return [
            SequenceWork(self._ids(index, encoding), self._want, self._type_ids(encoding))
            for index, encoding in enumerate(encodings)
        ]

    def _from_ids(self, sequences: Sequence[Array], chosen: ParametersT) -> Sequence[SequenceWork]:
        del chosen
        return [SequenceWork(ids, self._want) for ids in sequences]

    def _ids(self, index: int, encoding: Encoding) -> Array:
        """Ids of input ``index``, at least one, each one the model has a vector for."""
        ids = encoding.input_ids
        if not len(ids):
            raise BadRequest(f"input {index} has no tokens")
        if (seen := int(ids.max())) > self._highest_id:
            raise UnsupportedInput(
                f"input {index} has token id {seen}, and the model none above {self._highest_id}"
            )
        return ids

    @property
    def _highest_id(self) -> int:
        return (self.context.vocab_size or _MAX_ID + 1) - 1

    def _type_ids(self, encoding: Encoding) -> Array | None:
        """Token types the model knows; None for all zeros."""
        if self.context.num_token_types < 2:
            return None
        type_ids = encoding.type_ids
        return type_ids if type_ids.any() else None

    def _read_ids(self, sequences: Sequence[Sequence[int]]) -> list[Array]:
        """The client's ids as int32 arrays, once they are known to be ids of this model."""
        if not sequences:
            raise BadRequest("inputs are empty; send at least one sequence of token ids")
        limit = self.context.facts.max_length
        highest = self._highest_id
        for index, ids in enumerate(sequences):
            if not ids:
                raise BadRequest(f"input {index} is empty; send at least one token id")
            if len(ids) > limit:
                raise too_long(index, len(ids), limit)
            for token_id in ids:
                if type(token_id) is not int or not 0 <= token_id <= highest:
                    raise BadRequest(
                        f"input {index}: token id {token_id!r} is not a whole number from 0 to "
                        f"{highest}"
                    )
        return [np.asarray(ids, dtype=np.int32) for ids in sequences]


def grouped(work: Sequence[SequenceWork]) -> Iterator[list[tuple[int, TextWork]]]:
    """Work by the input it came from, each item with its position in ``work``."""
    groups: dict[int, list[tuple[int, TextWork]]] = {}
    for position, item in enumerate(work):
        if isinstance(item, TextWork):
            groups.setdefault(item.input_index, []).append((position, item))
    return iter(groups.values())


def _check_texts(texts: Sequence[str]) -> None:
    if not texts:
        raise BadRequest("inputs are empty; send at least one text")
    for index, text in enumerate(texts):
        if not text:
            raise BadRequest(f"input {index} is empty; send at least one character")
