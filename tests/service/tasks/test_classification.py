"""What the parity tests do not reach: several inputs, ids, limits and refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.core.errors import BadRequest, UnsupportedInput
from service.core.messages import TextInputs, TokenInputs
from service.tasks import TASKS, TaskContext
from service.tasks.tokenizer import Tokenizer

ContextMaker = Callable[..., TaskContext]


def answer(task: Any, inputs: Any, parameters: dict[str, Any], *logits: Any) -> list[Any]:
    work = task.prepare(inputs, parameters)
    arrays = [{"logits": np.asarray(value, dtype=np.float32)} for value in logits]
    return task.finish(arrays, work, parameters)


class TestTextClassification:
    @pytest.fixture
    def task(self, context: ContextMaker) -> Any:
        return TASKS["text-classification"](context(labels=dict(enumerate(("bad", "good", "new")))))

    def test_the_best_label_is_the_default_answer(self, task: Any) -> None:
        answers = answer(task, TextInputs(["cat", "dog"]), {}, [0, 9, 0], [9, 0, 0])
        assert [[element["label"] for element in one] for one in answers] == [["good"], ["bad"]]

    def test_null_asks_for_every_label(self, task: Any) -> None:
        (one,) = answer(task, TextInputs(["cat"]), {"top_k": None}, [1, 2, 3])
        assert [element["label"] for element in one] == ["new", "good", "bad"]
        assert sum(element["score"] for element in one) == pytest.approx(1)

    @pytest.mark.parametrize("top_k", [0, -1, 1.5, "2", True])
    def test_a_top_k_that_is_no_count_is_refused(self, task: Any, top_k: object) -> None:
        with pytest.raises(BadRequest, match="top_k"):
            task.prepare(TextInputs(["cat"]), {"top_k": top_k})

    @pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
    def test_huge_logits_give_finite_scores(self, task: Any, function: str) -> None:
        parameters = {"top_k": None, "function_to_apply": function}
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            (one,) = answer(task, TextInputs(["cat"]), parameters, [-3e4, 0, 3e4])
        assert np.isfinite([element["score"] for element in one]).all()


class TestFillMask:
    @pytest.fixture
    def task(self, context: ContextMaker) -> Any:
        return TASKS["fill-mask"](context())

    def test_a_text_without_mask_is_refused_by_its_place(self, task: Any) -> None:
        with pytest.raises(BadRequest, match=r"input 1 has no mask token '\[MASK\]'"):
            task.prepare(TextInputs(["[MASK]", "cat"]), {})

    def test_targets_without_tokens_are_refused_before_computing(self, task: Any) -> None:
        with pytest.raises(BadRequest, match="target ' ' has no tokens"):
            task.prepare(TextInputs(["[MASK]"]), {"targets": ["cat", " "]})
        with pytest.raises(BadRequest, match="targets"):
            task.prepare(TextInputs(["[MASK]"]), {"targets": []})

    def test_a_target_named_twice_counts_once(self, task: Any) -> None:
        parameters = {"targets": ["cat", "cat", "dog"]}
        (one,) = answer(task, TextInputs(["[MASK]"]), parameters, np.zeros((3, 256)))
        assert {element["token_str"] for element in one} == {"cat", "dog"}

    def test_ids_are_answered_like_texts(self, task: Any) -> None:
        logits = np.eye(3, 256)
        texts = answer(task, TextInputs(["[MASK]"]), {}, logits)
        assert answer(task, TokenInputs([[2, 4, 3]]), {}, logits) == texts

    def test_a_model_without_mask_token_says_so(self, context: ContextMaker, fixtures: Any) -> None:
        tokenizer = Tokenizer.from_folder(fixtures / "tokenizers" / "gpt2", 64)
        with pytest.raises(UnsupportedInput, match="no mask token"):
            TASKS["fill-mask"](context(tokenizer=tokenizer)).prepare(TextInputs(["x"]), {})


class TestTokenClassification:
    @pytest.fixture
    def task(self, context: ContextMaker) -> Any:
        return TASKS["token-classification"](
            context(labels=dict(enumerate(("O", "B-PER", "I-PER"))))
        )

    def test_inputs_are_answered_apart(self, task: Any) -> None:
        logits = np.eye(3)[[0, 1, 0]] * 9
        answers = answer(task, TextInputs(["anna", "cat"]), {}, logits, np.zeros((3, 3)))
        assert [[element["word"] for element in one] for one in answers] == [["anna"], []]

    def test_ids_have_no_characters(self, task: Any) -> None:
        (one,) = answer(task, TokenInputs([[2, 9, 3]]), {}, np.eye(3)[[0, 1, 0]] * 9)
        assert [(e["word"], e["start"], e["end"]) for e in one] == [("e", None, None)]

    @pytest.mark.parametrize("strategy", ["simple", "first", "max", "average"])
    def test_ids_can_be_grouped(self, task: Any, strategy: str) -> None:
        parameters = {"aggregation_strategy": strategy}
        logits = np.eye(3)[[0, 1, 2, 0]] * 9
        (one,) = answer(task, TokenInputs([[2, 9, 9, 3]]), parameters, logits)
        assert [element["entity_group"] for element in one] == ["PER"]

    def test_a_stride_needs_a_strategy(self, task: Any) -> None:
        with pytest.raises(BadRequest, match="aggregation_strategy other than 'none'"):
            task.prepare(TextInputs(["cat"]), {"stride": 3})

    def test_a_stride_as_wide_as_the_window_is_refused(self, task: Any) -> None:
        parameters = {"stride": 62, "aggregation_strategy": "simple"}
        with pytest.raises(BadRequest, match="62 shared with the next window"):
            task.prepare(TextInputs(["cat " * 100]), parameters)

    def test_with_a_stride_long_texts_are_read_in_windows(self, task: Any) -> None:
        parameters = {"stride": 2, "aggregation_strategy": "simple"}
        work = task.prepare(TextInputs(["cat " * 100, "dog"]), parameters)
        assert [(item.input_index, item.num_tokens) for item in work] == [(0, 64), (0, 42), (1, 3)]


class TestQuestionAnswering:
    @pytest.fixture
    def task(self, context: ContextMaker) -> Any:
        return TASKS["question-answering"](context())

    def test_the_question_is_a_parameter_and_the_inputs_are_contexts(self, task: Any) -> None:
        work = task.prepare(TextInputs(["anna", "the cat"]), {"question": "who"})
        assert [item.num_tokens for item in work] == [5, 6]
        assert [item.token_type_ids.tolist() for item in work] == [
            [0, 0, 0, 1, 1],
            [0, 0, 0, 1, 1, 1],
        ]

    def test_models_without_token_types_get_none(self, context: ContextMaker) -> None:
        task = TASKS["question-answering"](context(num_token_types=0))
        (item,) = task.prepare(TextInputs(["anna"]), {"question": "who"})
        assert item.token_type_ids is None

    @pytest.mark.parametrize("parameters", [{}, {"question": ""}, {"question": 3}])
    def test_a_missing_question_is_named(self, task: Any, parameters: dict[str, Any]) -> None:
        with pytest.raises(BadRequest, match="question"):
            task.prepare(TextInputs(["anna"]), parameters)

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"max_seq_len": 65}, "max_seq_len 65 is over the model's limit of 64"),
            ({"doc_stride": 60}, "60 shared with the next window"),
            ({"max_seq_len": 4, "doc_stride": 0}, "in 4 tokens 4 are taken"),
            ({"max_seq_len": 8, "question": "who " * 1_000_000}, "question has 4000000 characters"),
            ({"question": "\ud800"}, "question 0 holds a lone surrogate"),
            ({"max_answer_len": 0}, "max_answer_len"),
            ({"top_k": 0}, "top_k"),
        ],
    )
    def test_limits_that_cannot_be_kept_are_refused(
        self, task: Any, wrong: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(BadRequest, match=named):
            task.prepare(TextInputs(["cat " * 100]), {"question": "who", **wrong})

    def test_a_long_question_is_cut_when_asked(self, task: Any) -> None:
        parameters = {"question": "who " * 200, "max_question_len": 2}
        with pytest.raises(BadRequest, match="203 are taken"):
            task.prepare(TextInputs(["cat"]), {"question": "who " * 200})
        (item,) = task.prepare(TextInputs(["cat"]), parameters)
        assert item.num_tokens == 6

    def test_a_context_of_white_space_has_no_answer(self, task: Any) -> None:
        parameters = {"question": "who"}
        (item,) = work = task.prepare(TextInputs([" "]), parameters)
        logits = np.ones(item.num_tokens, np.float32)
        results = [{"start_logits": logits, "end_logits": logits}]
        assert task.finish(results, work, parameters) == [[]]

    def test_the_best_of_all_windows_is_answered(self, task: Any) -> None:
        parameters = {"question": "who", "max_seq_len": 8, "doc_stride": 1}
        text = "the cat sees the old dog in paris"
        work = task.prepare(TextInputs([text, "anna"]), parameters)
        assert [item.input_index for item in work] == [0, 0, 0, 1]
        results = [
            {key: np.zeros(item.num_tokens, np.float32) for key in ("start_logits", "end_logits")}
            for item in work
        ]
        for key in results[1]:
            results[1][key][5] = 9
        first, second = task.finish(results, work, parameters)
        assert [element["answer"] for element in first] == ["dog"]
        assert text[first[0]["start"] : first[0]["end"]] == "dog"
        assert second[0]["answer"] == "anna"

    def test_a_span_seen_in_two_windows_is_told_once(self, task: Any) -> None:
        parameters = {"question": "who", "max_seq_len": 8, "doc_stride": 3, "top_k": 9}
        work = task.prepare(TextInputs(["one two three four five six"]), parameters)
        results = [
            {key: np.zeros(item.num_tokens, np.float32) for key in ("start_logits", "end_logits")}
            for item in work
        ]
        (answers,) = task.finish(results, work, parameters)
        spans = [(element["start"], element["end"]) for element in answers]
        assert len(set(spans)) == len(spans) == 9
