"""fill-mask: what fits in the place of a mask token."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta
from typing_extensions import override

from service.core.errors import BadRequest, UnsupportedInput
from service.core.messages import Array
from service.core.work import SequenceWork, WorkResult
from service.tasks.parameters import TextParameters
from service.tasks.scores import softmax, top_indices
from service.tasks.sequence import SequenceTask


class FillMaskParameters(TextParameters, frozen=True, kw_only=True):
    """Parameters of fill-mask, as huggingface_hub names them.

    Attributes:
        top_k: answers for each mask, best first.
        targets: only these are scored, each by its first token; None means every token.
    """

    top_k: Annotated[int, Meta(ge=1)] = 5
    targets: Annotated[list[str], Meta(min_length=1)] | None = None


class FillMask(SequenceTask[FillMaskParameters]):
    """Each answer is a list of ``{"score", "token", "token_str", "sequence"}``, best first.

    With several masks in a text it is a list of such lists, in the order of the masks.
    """

    name: ClassVar[str] = "fill-mask"
    kind = FillMaskParameters

    @override
    def _from_texts(
        self, texts: Sequence[str], chosen: FillMaskParameters
    ) -> Sequence[SequenceWork]:
        return self._checked(super()._from_texts(texts, chosen), chosen)

    @override
    def _from_ids(
        self, sequences: Sequence[Array], chosen: FillMaskParameters
    ) -> Sequence[SequenceWork]:
        return self._checked(super()._from_ids(sequences, chosen), chosen)

    @override
    def _answers(
        self,
        results: Sequence[WorkResult],
        work: Sequence[SequenceWork],
        chosen: FillMaskParameters,
    ) -> list[Any]:
        targets = self._target_ids(chosen)
        return [
            self._answer(_token_logits(result), item.input_ids, targets, chosen.top_k)
            for result, item in zip(results, work, strict=True)
        ]

    def _answer(self, logits: Array, ids: Array, targets: Array | None, top_k: int) -> list[Any]:
        places = np.flatnonzero(ids == self._mask_id)
        rows = []
        for place in places:
            scores = softmax(logits[place])
            candidates = np.arange(len(scores)) if targets is None else targets
            best = candidates[top_indices(scores[candidates], top_k)]
            rows.append(
                [
                    self._element(ids, int(place), int(token), float(scores[token]), len(places))
                    for token in best
                ]
            )
        return rows[0] if len(rows) == 1 else rows

    def _element(
        self, ids: Array, place: int, token: int, score: float, num_masks: int
    ) -> dict[str, Any]:
        """One candidate. With several masks special tokens stay, or the others would vanish."""
        filled = ids.tolist()
        filled[place] = token
        return {
            "score": score,
            "token": token,
            "token_str": self._tokenizer.decode([token]),
            "sequence": self._tokenizer.decode(filled, skip_special_tokens=num_masks == 1),
        }

    def _checked(
        self, work: Sequence[SequenceWork], chosen: FillMaskParameters
    ) -> Sequence[SequenceWork]:
        """Refuse inputs without a mask, and targets without tokens, before they are computed."""
        self._target_ids(chosen)
        for index, item in enumerate(work):
            if not (item.input_ids == self._mask_id).any():
                mask = self._tokenizer.token(self._mask_id)
                raise BadRequest(f"input {index} has no mask token {mask!r}")
        return work

    @property
    def _mask_id(self) -> int:
        mask_id = self._tokenizer.special_ids.get("mask_token")
        if mask_id is None:
            raise UnsupportedInput("this model's tokenizer has no mask token")
        return mask_id

    def _target_ids(self, chosen: FillMaskParameters) -> Array | None:
        """Ids of the targets, each once; None when there are none to look at alone."""
        if chosen.targets is None:
            return None
        ids: dict[int, None] = {}
        for target in chosen.targets:
            token_id = self._tokenizer.first_id(target)
            if token_id is None:
                raise BadRequest(f"target {target!r} has no tokens")
            ids[token_id] = None
        return np.fromiter(ids, dtype=np.int64)


def _token_logits(result: WorkResult) -> Array:
    """Scores of the vocabulary; models with BERT's heads of pre-training name them differently."""
    return result["logits"] if "logits" in result else result["prediction_logits"]
