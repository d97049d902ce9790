"""token-classification: a label for each token, or for each run of tokens that name one thing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta
from typing_extensions import override

from service.core.errors import BadRequest
from service.core.messages import Array
from service.core.work import SequenceWork, WorkResult
from service.tasks.parameters import TextParameters
from service.tasks.scores import softmax
from service.tasks.sequence import SequenceTask, TextWork, grouped


class TokenClassificationParameters(TextParameters, frozen=True, kw_only=True):
    """Parameters of token-classification, as huggingface_hub names them.

    Attributes:
        aggregation_strategy: ``none``: every token; ``simple``: neighbours of one label are
            joined; ``first``, ``max``, ``average``: so are the tokens of a word, labelled by
            its first token, its surest one, or the mean of their scores.
        ignore_labels: labels (groups, unless the strategy is ``none``) that are left out.
        stride: read long texts in windows that share this many tokens, instead of refusing
            them; not with the strategy ``none``.
    """

    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] = "none"
    ignore_labels: tuple[str, ...] = ("O",)
    stride: Annotated[int, Meta(ge=0)] | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """One token, or one word once its tokens are joined.

    ``scores`` is float64 ``[labels]``; ``start`` and ``end`` are None when the client sent ids.
    """

    tokens: tuple[str, ...]
    index: int
    start: int | None
    end: int | None
    scores: Array
    continues_word: bool = False

    @property
    def label(self) -> int:
        return int(self.scores.argmax())

    @property
    def score(self) -> float:
        return float(self.scores.max())


_WORD_SCORES: Mapping[str, Callable[[Sequence[_Token]], Array]] = {
    "first": lambda word: word[0].scores,
    "max": lambda word: max(word, key=lambda token: token.score).scores,
    "average": lambda word: np.mean([token.scores for token in word], axis=0),
}


class TokenClassification(SequenceTask[TokenClassificationParameters]):
    """Each answer is a list of entities, in the order of the text.

    ``{"entity", "score", "index", "word", "start", "end"}`` for each token, or with a strategy
    ``{"entity_group", "score", "word", "start", "end"}``. ``start`` and ``end`` count
    characters; they are null for inputs sent as ids.
    """

    name: ClassVar[str] = "token-classification"
    kind = TokenClassificationParameters

    @override
    def _from_texts(
        self, texts: Sequence[str], chosen: TokenClassificationParameters
    ) -> Sequence[SequenceWork]:
        tokenizer = self._tokenizer
        if chosen.stride is None:
            encodings = tokenizer.encode(
                texts,
                truncate=chosen.truncate,
                truncation_direction=chosen.truncation_direction,
                with_offsets=True,
            )
            windows = [[encoding] for encoding in encodings]
        else:
            stride = _check_stride(chosen)
            whole = tokenizer.encode_uncut(texts)
            windows = [part.windows(tokenizer.max_length, stride, 0) for part in whole]
        return [
            TextWork(
                self._ids(index, encoding),
                self._want,
                self._type_ids(encoding),
                input_index=index,
                text=texts[index],
                encoding=encoding,
            )
            for index, parts in enumerate(windows)
            for encoding in parts
        ]

    @override
    def _from_ids(
        self, sequences: Sequence[Array], chosen: TokenClassificationParameters
    ) -> Sequence[SequenceWork]:
        return [TextWork(ids, self._want, input_index=index) for index, ids in enumerate(sequences)]

    @override
    def _answers(
        self,
        results: Sequence[WorkResult],
        work: Sequence[SequenceWork],
        chosen: TokenClassificationParameters,
    ) -> list[list[dict[str, Any]]]:
        answers = []
        for group in grouped(work):
            windows = [
                self._entities(softmax(results[position]["logits"]), item, chosen)
                for position, item in group
            ]
            answers.append(_merge(windows))
        return answers

    def _entities(
        self, scores: Array, item: TextWork, chosen: TokenClassificationParameters
    ) -> list[dict[str, Any]]:
        tokens = list(self._tokens(scores, item))
        strategy = chosen.aggregation_strategy
        if strategy == "none":
            entities = [self._token_entity(token) for token in tokens]
        else:
            if strategy in _WORD_SCORES:
                tokens = [self._word(word, strategy) for word in _words(tokens)]
            entities = [self._group_entity(run) for run in self._runs(tokens)]
        key = "entity" if strategy == "none" else "entity_group"
        return [entity for entity in entities if entity[key] not in chosen.ignore_labels]

    def _tokens(self, scores: Array, item: TextWork) -> Iterator[_Token]:
        """The tokens of the text, without those the tokenizer added."""
        tokenizer, encoding = self.context.tokenizer, item.encoding
        special = set(tokenizer.special_ids.values()) if tokenizer else set()
        unknown = tokenizer.special_ids.get("unk_token") if tokenizer else None
        added = encoding.is_special.tolist() if encoding else None
        offsets = encoding.offsets.tolist() if encoding else None
        for index, token_id in enumerate(item.input_ids.tolist()):
            if added[index] if added else token_id in special - {unknown}:
                continue
            token = tokenizer.token(token_id) if tokenizer else ""
            if offsets is None:
                yield _Token((token,), index, None, None, scores[index])
                continue
            start, end = offsets[index]
            continues = token_id != unknown and self._continues(token, item.text, start, end)
            word = item.text[start:end] if token_id == unknown else token
            yield _Token((word,), index, start, end, scores[index], continues)

    def _continues(self, token: str, text: str, start: int, end: int) -> bool:
        """Whether a token goes on with a word; a guess where the tokenizer does not mark it."""
        if self._tokenizer.marks_word_parts:
            return len(token) != end - start
        return start > 0 and " " not in text[start - 1 : start + 1]

    def _word(self, word: Sequence[_Token], strategy: str) -> _Token:
        return _Token(
            tokens=(self._readable([part for token in word for part in token.tokens]),),
            index=word[0].index,
            start=word[0].start,
            end=word[-1].end,
            scores=_WORD_SCORES[strategy](word),
        )

    def _runs(self, tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
        """Neighbours of the same kind; ``B-`` starts a new run."""
        run: list[_Token] = []
        for token in tokens:
            starts, kind = _tag(self.context.label(token.label))
            if run and (starts or kind != _tag(self.context.label(run[-1].label))[1]):
                yield run
                run = []
            run.append(token)
        if run:
            yield run

    def _token_entity(self, token: _Token) -> dict[str, Any]:
        return {
            "entity": self.context.label(token.label),
            "score": token.score,
            "index": token.index,
            "word": token.tokens[0],
            "start": token.start,
            "end": token.end,
        }

    def _group_entity(self, run: Sequence[_Token]) -> dict[str, Any]:
        return {
            "entity_group": self.context.label(run[0].label).split("-", 1)[-1],
            "score": float(np.mean([token.score for token in run])),
            "word": self._readable([part for token in run for part in token.tokens]),
            "start": run[0].start,
            "end": run[-1].end,
        }

    def _readable(self, tokens: Sequence[str]) -> str:
        tokenizer = self.context.tokenizer
        return tokenizer.join(tokens) if tokenizer else ""


def _check_stride(chosen: TokenClassificationParameters) -> int:
    if chosen.aggregation_strategy == "none":
        raise BadRequest("stride needs an aggregation_strategy other than 'none'")
    return chosen.stride or 0


def _tag(label: str) -> tuple[bool, str]:
    """Whether a label starts an entity, and the entity's kind."""
    if label[:2] in {"B-", "I-"}:
        return label[0] == "B", label[2:]
    return False, label


def _words(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    word: list[_Token] = []
    for token in tokens:
        if word and not token.continues_word:
            yield word
            word = []
        word.append(token)
    if word:
        yield word


def _merge(windows: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Entities of all windows; of two that overlap the longer one stays, then the surer one."""
    if len(windows) == 1:
        return windows[0]
    merged: list[dict[str, Any]] = []
    for entity in sorted((e for window in windows for e in window), key=lambda e: e["start"]):
        if not merged or entity["start"] >= merged[-1]["end"]:
            merged.append(entity)
        elif _weight(entity) > _weight(merged[-1]):
            merged[-1] = entity
    return merged


def _weight(entity: Mapping[str, Any]) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]
