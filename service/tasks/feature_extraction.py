"""feature-extraction: texts to vectors."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from typing_extensions import override

from service.core.errors import BadRequest
from service.core.messages import Array
from service.core.work import SequenceWork, Want, WorkResult
from service.tasks.parameters import TextParameters
from service.tasks.scores import unit_length
from service.tasks.sequence import SequenceTask


class FeatureExtractionParameters(TextParameters, frozen=True, kw_only=True):
    """Parameters of feature-extraction, as huggingface_hub names them.

    Attributes:
        normalize: scale vectors to length 1; None means as the model's modules say.
        prompt_name: one of the model's prompts, put before each text; None means its default.
    """

    normalize: bool | None = None
    prompt_name: str | None = None


class FeatureExtraction(SequenceTask[FeatureExtractionParameters]):
    """One vector per text ``[inputs, dims]``, or without pooling one per token.

    Without pooling the answer is a list of arrays ``[tokens, dims]``. All are float32.
    """

    name: ClassVar[str] = "feature-extraction"
    kind = FeatureExtractionParameters

    @property
    @override
    def _want(self) -> Want:
        return Want.EMBEDDING if self.context.is_pooled else Want.HIDDEN

    @override
    def _from_texts(
        self, texts: Sequence[str], chosen: FeatureExtractionParameters
    ) -> Sequence[SequenceWork]:
        prompt = self._prompt(chosen.prompt_name)
        return super()._from_texts([prompt + text for text in texts] if prompt else texts, chosen)

    @override
    def _from_ids(
        self, sequences: Sequence[Array], chosen: FeatureExtractionParameters
    ) -> Sequence[SequenceWork]:
        if chosen.prompt_name is not None:
            raise BadRequest("prompt_name goes with texts; token ids are taken as they are")
        return super()._from_ids(sequences, chosen)

    @override
    def _answers(
        self,
        results: Sequence[WorkResult],
        work: Sequence[SequenceWork],
        chosen: FeatureExtractionParameters,
    ) -> Array | list[Array]:
        modules = self.context.sentence_transformers
        by_default = modules is not None and modules.normalize
        normalize = by_default if chosen.normalize is None else chosen.normalize
        vectors = [result[self._want.value] for result in results]
        if self.context.is_pooled:
            stacked = np.stack(vectors)
            return unit_length(stacked) if normalize else stacked
        return [unit_length(vector) for vector in vectors] if normalize else vectors

    def _prompt(self, name: str | None) -> str:
        modules = self.context.sentence_transformers
        prompts = modules.prompts if modules else {}
        if name is None:
            default = modules.default_prompt_name if modules else None
            return prompts[default] if default is not None else ""
        if name not in prompts:
            known = ", ".join(prompts) or "none"
            raise BadRequest(f"prompt_name {name!r} is unknown to this model; it has: {known}")
        return prompts[name]
