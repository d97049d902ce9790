"""question-answering: the part of a text that answers a question.

The inputs are the contexts; the question is a parameter, the same for all of them. Contexts
longer than the model takes are read in overlapping windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta
from typing_extensions import override

from service.core.errors import BadRequest, UnsupportedInput
from service.core.messages import Array
from service.core.work import SequenceWork, WorkResult
from service.tasks.parameters import TextParameters
from service.tasks.scores import softmax, top_indices
from service.tasks.sequence import SequenceTask, TextWork, grouped
from service.tasks.tokenizer import Encoding

_MAX_WINDOW = 384
_MAX_STRIDE = 128
_MASKED = -10_000.0

Count = Annotated[int, Meta(ge=1)]


class QuestionAnsweringParameters(TextParameters, frozen=True, kw_only=True):
    """Parameters of question-answering, as huggingface_hub names them.

    Attributes:
        question: what is asked.
        top_k: answers for each context, best first; fewer when there are not that many.
        align_to_words: widen an answer to whole words.
        doc_stride: tokens that two windows share; None means half a window, 128 at most.
        handle_impossible_answer: let the empty answer compete with the others.
        max_answer_len: most tokens of an answer.
        max_question_len: cut the question after this many tokens; None never cuts it.
        max_seq_len: tokens of a window, question included; None means the model's limit, 384
            at most.
    """

    question: Annotated[str, Meta(min_length=1)]
    top_k: Count = 1
    align_to_words: bool = True
    doc_stride: Annotated[int, Meta(ge=0)] | None = None
    handle_impossible_answer: bool = False
    max_answer_len: Annotated[int, Meta(ge=1, le=512)] = 15
    max_question_len: Count | None = None
    max_seq_len: Count | None = None


@dataclass(frozen=True, slots=True)
class _Window:
    """One window's answers, and how sure it is that there is none."""

    answers: list[dict[str, Any]]
    null_score: float


class QuestionAnswering(SequenceTask[QuestionAnsweringParameters]):
    """Each answer is a list of ``{"answer", "score", "start", "end"}``, best first.

    ``start`` and ``end`` count characters of the context. The same span is told once.
    """

    name: ClassVar[str] = "question-answering"
    kind = QuestionAnsweringParameters

    @override
    def _from_texts(
        self, texts: Sequence[str], chosen: QuestionAnsweringParameters
    ) -> Sequence[SequenceWork]:
        pairs = self._tokenizer.encode_uncut(texts, chosen.question)
        return [
            TextWork(
                self._ids(index, window),
                self._want,
                self._type_ids(window),
                input_index=index,
                text=texts[index],
                encoding=window,
            )
            for index, pair in enumerate(pairs)
            for window in self._windows(pair, chosen)
        ]

    @override
    def _from_ids(
        self, sequences: Sequence[Array], chosen: QuestionAnsweringParameters
    ) -> Sequence[SequenceWork]:
        raise UnsupportedInput(
            "question-answering tells its answers in characters of the context, which token ids "
            "do not have; send texts or tensors"
        )

    def _windows(self, pair: Encoding, chosen: QuestionAnsweringParameters) -> list[Encoding]:
        limit = self._tokenizer.max_length
        size = min(limit, _MAX_WINDOW) if chosen.max_seq_len is None else chosen.max_seq_len
        if size > limit:
            raise BadRequest(f"max_seq_len {size} is over the model's limit of {limit}")
        if chosen.max_question_len is not None:
            pair = pair.limit_sequence(0, chosen.max_question_len)
        stride = min(size // 2, _MAX_STRIDE) if chosen.doc_stride is None else chosen.doc_stride
        return pair.windows(size, stride, 1)

    @override
    def _answers(
        self,
        results: Sequence[WorkResult],
        work: Sequence[SequenceWork],
        chosen: QuestionAnsweringParameters,
    ) -> list[list[dict[str, Any]]]:
        return [
            _best([self._window(results[i], item, chosen) for i, item in group], chosen)
            for group in grouped(work)
        ]

    def _window(
        self, result: WorkResult, item: TextWork, chosen: QuestionAnsweringParameters
    ) -> _Window:
        encoding = item.encoding
        if encoding is None:
            return _Window([], 1.0)
        in_context = encoding.sequence_ids == 1
        allowed = in_context | (item.input_ids == self._tokenizer.special_ids.get("cls_token", -1))
        start = softmax(np.where(allowed, result["start_logits"], _MASKED))
        end = softmax(np.where(allowed, result["end_logits"], _MASKED))
        null_score = float(start[0] * end[0])
        spans = _spans(start * in_context, end * in_context, chosen)
        answers = [
            _answer(item.text, score, *_characters(encoding, first, last, chosen.align_to_words))
            for first, last, score in spans
        ]
        return _Window(answers, null_score)


def _spans(
    start: Array, end: Array, chosen: QuestionAnsweringParameters
) -> Iterator[tuple[int, int, float]]:
    """First token, last token and score of the best spans; no table of all pairs is made."""
    num_tokens = len(start)
    widths = range(min(chosen.max_answer_len, num_tokens))
    scores = np.zeros((len(widths), num_tokens))
    for width in widths:
        scores[width, : num_tokens - width] = start[: num_tokens - width] * end[width:]
    for position in top_indices(scores.ravel(), chosen.top_k):
        width, first = divmod(int(position), num_tokens)
        if scores[width, first] > 0:
            yield first, first + width, float(scores[width, first])


def _characters(encoding: Encoding, first: int, last: int, to_words: bool) -> tuple[int, int]:
    """First character and the one after the last, in the context."""
    raw = encoding.raw
    first, last = encoding.position(first), encoding.position(last)
    if to_words:
        words = raw.token_to_word(first), raw.token_to_word(last)
        spans = [None if word is None else raw.word_to_chars(word, 1) for word in words]
        if spans[0] is not None and spans[1] is not None:
            return spans[0][0], spans[1][1]
    return raw.offsets[first][0], raw.offsets[last][1]


def _answer(text: str, score: float, start: int, end: int) -> dict[str, Any]:
    return {"score": score, "start": start, "end": end, "answer": text[start:end]}


def _best(windows: Sequence[_Window], chosen: QuestionAnsweringParameters) -> list[dict[str, Any]]:
    """The best answers of all windows; of equal spans the surer one."""
    answers = [answer for window in windows for answer in window.answers]
    if chosen.handle_impossible_answer:
        answers.append(_answer("", min(window.null_score for window in windows), 0, 0))
    answers.sort(key=lambda answer: -answer["score"])
    spans: dict[tuple[int, int], dict[str, Any]] = {}
    for answer in answers:
        spans.setdefault((answer["start"], answer["end"]), answer)
    return list(spans.values())[: chosen.top_k]
