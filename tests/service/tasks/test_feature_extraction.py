from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.core.errors import BadRequest
from service.core.messages import ModelFacts, TextInputs, TokenInputs
from service.core.work import Pooling, Want
from service.tasks import TaskContext, build_task
from service.tasks.feature_extraction import FeatureExtraction
from service.tasks.sentence_transformers import SentenceTransformersConfig

ContextMaker = Callable[..., TaskContext]


@pytest.fixture
def modules(tiny_bert: Path) -> SentenceTransformersConfig:
    return SentenceTransformersConfig(
        folder=tiny_bert,
        pooling=Pooling(("mean",)),
        normalize=True,
        prompts={"query": "who ", "document": ""},
    )


@pytest.fixture
def pooled(context: ContextMaker, modules: SentenceTransformersConfig) -> FeatureExtraction:
    return FeatureExtraction(context(sentence_transformers=modules))


def embeddings(*vectors: list[float]) -> list[dict[str, Any]]:
    return [{"embedding": np.asarray(vector, dtype=np.float32)} for vector in vectors]


def ids(task: FeatureExtraction, text: str, **parameters: Any) -> list[int]:
    (item,) = task.prepare(TextInputs([text]), parameters)
    return item.input_ids.tolist()


def finish(task: FeatureExtraction, results: Any, **parameters: Any) -> Any:
    work = task.prepare(TokenInputs([[4]] * len(results)), parameters)
    return task.finish(results, work, parameters)


class TestPooled:
    def test_pooled_vectors_are_asked_for(self, pooled: FeatureExtraction) -> None:
        (item,) = pooled.prepare(TextInputs(["cat"]), {})
        assert item.want is Want.EMBEDDING
        assert item.token_type_ids is None

    def test_vectors_are_stacked_and_scaled_as_the_modules_say(
        self, pooled: FeatureExtraction
    ) -> None:
        vectors = finish(pooled, embeddings([3, 4], [0, 2]))
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 1]], rtol=1e-6)

    def test_the_request_may_want_them_unscaled(self, pooled: FeatureExtraction) -> None:
        assert finish(pooled, embeddings([3, 4]), normalize=False).tolist() == [[3, 4]]

    def test_a_model_that_does_not_scale_does_when_asked(
        self, context: ContextMaker, modules: SentenceTransformersConfig
    ) -> None:
        task = FeatureExtraction(context(sentence_transformers=replace(modules, normalize=False)))
        assert finish(task, embeddings([3, 4])).tolist() == [[3, 4]]
        np.testing.assert_allclose(
            finish(task, embeddings([3, 4]), normalize=True), [[0.6, 0.8]], rtol=1e-6
        )

    def test_a_vector_of_zeros_stays_one(self, pooled: FeatureExtraction) -> None:
        assert finish(pooled, embeddings([0, 0])).tolist() == [[0, 0]]

    def test_pooling_named_by_the_worker_counts_too(
        self, context: ContextMaker, facts: ModelFacts
    ) -> None:
        task = FeatureExtraction(context(facts=replace(facts, pooling="cls")))
        assert finish(task, embeddings([3, 4])).tolist() == [[3, 4]]


class TestWithoutPooling:
    def test_token_vectors_are_asked_for_and_sent_back(self, context: ContextMaker) -> None:
        task = FeatureExtraction(context())
        work = task.prepare(TextInputs(["cat", "the cat"]), {})
        assert {item.want for item in work} == {Want.HIDDEN}
        arrays = [np.ones((item.num_tokens, 2), np.float32) for item in work]
        answers = task.finish([{"last_hidden_state": array} for array in arrays], work, {})
        assert [answer.shape for answer in answers] == [(3, 2), (4, 2)]

    def test_token_vectors_are_scaled_one_by_one(self, context: ContextMaker) -> None:
        task = FeatureExtraction(context())
        vectors = np.asarray([[3, 4], [0, 5]], np.float32)
        (answer,) = finish(task, [{"last_hidden_state": vectors}], normalize=True)
        np.testing.assert_allclose(answer, [[0.6, 0.8], [0, 1]], rtol=1e-6)


class TestPrompts:
    def test_a_prompt_is_put_before_the_text(self, pooled: FeatureExtraction) -> None:
        assert ids(pooled, "cat", prompt_name="query") == ids(pooled, "who cat")
        assert ids(pooled, "cat", prompt_name="document") == ids(pooled, "cat")

    def test_the_default_prompt_is_used_when_none_is_named(
        self, context: ContextMaker, modules: SentenceTransformersConfig
    ) -> None:
        task = FeatureExtraction(
            context(sentence_transformers=replace(modules, default_prompt_name="query"))
        )
        assert ids(task, "cat") == ids(task, "who cat", prompt_name="document")

    def test_an_unknown_prompt_is_named_with_the_known_ones(
        self, pooled: FeatureExtraction, context: ContextMaker
    ) -> None:
        with pytest.raises(BadRequest, match="'x' is unknown to this model; it has: query, doc"):
            ids(pooled, "cat", prompt_name="x")
        with pytest.raises(BadRequest, match="it has: none"):
            ids(FeatureExtraction(context()), "cat", prompt_name="x")

    def test_a_prompt_does_not_go_with_ids(self, pooled: FeatureExtraction) -> None:
        with pytest.raises(BadRequest, match="prompt_name goes with texts"):
            pooled.prepare(TokenInputs([[4]]), {"prompt_name": "query"})


def test_truncation_keeps_the_end_that_is_asked_for(pooled: FeatureExtraction) -> None:
    text = "cat " * 62 + "dog"
    cat, dog = ids(pooled, "cat")[1], ids(pooled, "dog")[1]
    right = ids(pooled, text, truncate=True)
    left = ids(pooled, text, truncate=True, truncation_direction="left")
    assert right == [2, *[cat] * 62, 3]
    assert left == [2, *[cat] * 61, dog, 3]


def test_the_embedded_model_has_its_settings(minilm: Path, facts: ModelFacts) -> None:
    task = build_task("feature-extraction", minilm, replace(facts, max_length=512))
    (item,) = task.prepare(TextInputs(["word " * 300]), {"truncate": True})
    assert item.num_tokens == 256
    (vector,) = task.finish(embeddings([3, 4]), [item], {"truncate": True})
    np.testing.assert_allclose(vector, [0.6, 0.8], rtol=1e-6)
