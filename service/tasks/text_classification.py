"""text-classification: a text to labels with scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta
from typing_extensions import override

from service.core.messages import Array
from service.core.work import SequenceWork, WorkResult
from service.tasks.parameters import TextParameters
from service.tasks.scores import sigmoid, softmax, top_indices
from service.tasks.sequence import SequenceTask

Transform = Literal["sigmoid", "softmax", "none"]

_TRANSFORMS: Mapping[Transform, Callable[[Array], Array]] = {
    "sigmoid": sigmoid,
    "softmax": softmax,
    "none": np.asarray,
}


class TextClassificationParameters(TextParameters, frozen=True, kw_only=True):
    """Parameters of text-classification, as huggingface_hub names them.

    Attributes:
        top_k: labels in an answer, best first; 1 as in transformers' pipelines, null for all.
        function_to_apply: from logits to scores; None means by the model's problem type.
    """

    nullable: ClassVar[frozenset[str]] = frozenset({"top_k"})
    top_k: Annotated[int, Meta(ge=1)] | None = 1
    function_to_apply: Transform | None = None


class TextClassification(SequenceTask[TextClassificationParameters]):
    """Each answer is a list of ``{"label", "score"}``, best first."""

    name: ClassVar[str] = "text-classification"
    kind = TextClassificationParameters

    @override
    def _answers(
        self,
        results: Sequence[WorkResult],
        work: Sequence[SequenceWork],
        chosen: TextClassificationParameters,
    ) -> list[list[dict[str, Any]]]:
        return [self._answer(result["logits"], chosen) for result in results]

    def _answer(self, logits: Array, chosen: TextClassificationParameters) -> list[dict[str, Any]]:
        transform = chosen.function_to_apply or self._default_transform(len(logits))
        scores = _TRANSFORMS[transform](logits)
        best = top_indices(scores, len(scores) if chosen.top_k is None else chosen.top_k)
        return [{"label": self.context.label(int(i)), "score": float(scores[i])} for i in best]

    def _default_transform(self, num_labels: int) -> Transform:
        problem = self.context.problem_type
        if problem == "regression":
            return "none"
        one_or_many = num_labels == 1 or problem == "multi_label_classification"
        return "sigmoid" if one_or_many else "softmax"
