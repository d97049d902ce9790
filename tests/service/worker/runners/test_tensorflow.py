"""The TensorFlow runner: the answers are those of the torch runner on the same checkpoint."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model_base
from model_base import CheckpointMismatch
from service.channel.messages import Load
from service.core.work import SequenceWork, TensorWork, Want
from service.worker.runners.base import InputRejected
from service.worker.runners.checkpoint import DeviceMissing
from service.worker.runners.row_pooling import POOLERS
from service.worker.runners.torch import TorchRunner
from tests.model_base.torch.models.small import SMALL

pytestmark = [pytest.mark.tensorflow, pytest.mark.torch]

LENGTHS = (1, 17, 5, 38, 3, 36)
IDS = np.array([[5, 6, 7, 8], [9, 10, 11, 0]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
TYPES = np.array([[0, 0, 1, 1], [0, 1, 1, 0]])
Make = Callable[..., tuple[Any, Any]]


@pytest.fixture(autouse=True)
def one_process_for_all_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker sets its threads before it computes; a process of tests has computed before."""
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    for name in ("intra", "inter"):
        monkeypatch.setattr(
            tf.config.threading, f"set_{name}_op_parallelism_threads", lambda count: None
        )
    yield
    keras.config.enable_traceback_filtering()
    tf.debugging.enable_traceback_filtering()


def load(runner: Any, folder: Path, **fields: Any) -> Any:
    given = {"dtype": "auto", "device": "cpu", "pooling": (), **fields}
    order = Load(str(folder), **given, threads=2, max_batch_tokens=64)
    loaded = runner.load(order, lambda done, total: None)
    loaded.warm_up()
    return loaded


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Any]:
    """Write a small model of a class and load it in TensorFlow."""
    from service.worker.runners.tensorflow import TensorFlowRunner

    def build(name: str, order: Any = None, **config: Any) -> Any:
        save(name, tmp_path, **config)
        return load(TensorFlowRunner, tmp_path, **order or {})

    return build


@pytest.fixture
def both(serve: Callable[..., Any], tmp_path: Path) -> Make:
    """The same in both stacks."""

    def build(name: str, order: Any = None, **config: Any) -> tuple[Any, Any]:
        ours = serve(name, order, **config)
        return load(TorchRunner, tmp_path, **order or {}), ours

    return build


def save(name: str, folder: Path, **config: Any) -> None:
    kind = getattr(model_base, name)
    torch.manual_seed(0)
    model = kind(SMALL[kind.config_class](**config))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def texts(want: Want, types: bool = False) -> list[SequenceWork]:
    rng = np.random.default_rng(0)
    ids = [rng.integers(3, 61, n).astype(np.int32) for n in LENGTHS]
    return [SequenceWork(i, want, (i % 2).astype(np.int32) if types else None) for i in ids]


def check_same(runners: tuple[Any, Any], work: list[Any]) -> None:
    expected, found = (runner.run(work, 1) for runner in runners)
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        for name in other:
            np.testing.assert_allclose(
                one[name], other[name], rtol=1e-4, atol=1e-4, err_msg=name, strict=True
            )


def refusal(runner: Any, **arrays: Any) -> str:
    with pytest.raises(InputRejected) as caught:
        runner.run([TensorWork({n: np.asarray(a) for n, a in arrays.items()})], 1)
    return str(caught.value)


@pytest.mark.parametrize("name", ["BertModel", "RobertaModel", "GPT2Model", "DistilBertModel"])
def test_each_token_has_the_vector_that_torch_gives_it(both: Make, name: str) -> None:
    check_same(both(name), texts(Want.HIDDEN))


@pytest.mark.parametrize("mode", POOLERS)
def test_texts_are_pooled_as_by_torch(both: Make, mode: str) -> None:
    runners = both("BertModel", {"pooling": (mode,)})
    check_same(runners, texts(Want.EMBEDDING, types=True))
    assert runners[1].facts.pooling == mode


@pytest.mark.parametrize(
    "name",
    ["BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification",
     "BertForTokenClassification", "BertForQuestionAnswering", "BertForNextSentencePrediction",
     "RobertaForMaskedLM", "GPT2LMHeadModel", "GPT2ForSequenceClassification"],
)  # fmt: skip
def test_every_head_gives_a_text_its_own_outputs(both: Make, name: str) -> None:
    fields = {"num_labels": 2} if name.endswith("Answering") else {}
    runners = both(name, **fields)
    check_same(runners, texts(Want.LOGITS))
    check_same(runners, texts(Want.LOGITS, types=name.startswith("Bert")))
    facts, other = runners[1].facts, runners[0].facts
    assert (facts.framework, facts.architecture) == ("tensorflow", f"TF{name}")
    assert (facts.task, facts.max_length) == (other.task, other.max_length)


@pytest.mark.parametrize(
    "arrays",
    [
        {"input_ids": IDS},
        {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": TYPES},
        {"input_ids": IDS, "head_mask": np.array([[1, 0, 1, 1], [0, 1, 1, 1]])},
        {"inputs_embeds": np.ones((2, 3, 32)), "position_ids": np.array([[5, 4, 3]])},
        {"input_ids": IDS, "attention_mask": MASK, "labels": np.array([2, 0])},
    ],
)
def test_raw_tensors_give_what_torch_gives(both: Make, arrays: Any) -> None:
    check_same(both("BertForSequenceClassification"), [TensorWork(arrays)])


@pytest.mark.parametrize(
    "name",
    ["GPT2Model", "T5ForConditionalGeneration", "BartModel", "ViTForImageClassification",
     "CLIPModel", "Wav2Vec2ForCTC", "BertForMultipleChoice"],
)  # fmt: skip
def test_models_of_other_inputs_take_them_raw(both: Make, name: str) -> None:
    torch_runner, runner = both(name, {"max_sequence_tokens": 40})
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.standard_normal(t.shape).astype(np.float32) if t.is_floating_point()
        else rng.integers(3, 50, t.shape)
        for name, t in torch_runner._model.example_inputs(2, 7).items()
    }  # fmt: skip
    check_same((torch_runner, runner), [TensorWork(arrays)])
    facts, other = runner.facts, torch_runner.facts
    assert set(facts.inputs) == set(arrays)
    assert (facts.max_length, facts.values_per_token) == (other.max_length, other.values_per_token)


def test_a_text_is_refused_by_a_model_that_needs_more(serve: Callable[..., Any]) -> None:
    with pytest.raises(InputRejected, match="takes no text alone; give the raw tensors input_ids"):
        serve("T5Model").run(texts(Want.HIDDEN), 1)


def test_one_graph_serves_every_shape(serve: Callable[..., Any]) -> None:
    runner = serve("BertModel")
    graphs = runner._graph.cache_info().misses
    runner.run(texts(Want.HIDDEN), 1)
    arrays = {
        "input_ids": IDS[:, :3],
        "attention_mask": MASK[:, :3],
        "token_type_ids": TYPES[:, 1:],
    }
    runner.run([TensorWork(arrays)], 1)
    assert runner._graph.cache_info().misses == graphs


def test_rows_are_padded_together_if_most_of_it_is_no_padding() -> None:
    from service.worker.runners.tensorflow import _groups

    assert list(_groups([3, 200, 101, 99, 1, 16])) == [[1, 2], [3], [5, 0, 4]]
    assert list(_groups([7])) == [[0]]


def test_what_does_not_fit_is_refused_in_short_words(serve: Callable[..., Any]) -> None:
    runner = serve("BertForSequenceClassification")
    accepted = "attention_mask, head_mask, input_ids, inputs_embeds, labels, position_ids"
    assert refusal(runner, past=IDS) == (
        f"unknown input 'past'; accepted: {accepted}, token_type_ids"
    )
    assert (
        refusal(runner, input_ids=[[61]]) == "input_ids has values from 61 to 61; accepted: 0 to 60"
    )
    assert "attention_mask has the value 2" in refusal(
        runner, input_ids=IDS, attention_mask=2 * MASK
    )
    assert "input_ids has 41 tokens in a row; accepted: up to 40" in refusal(
        runner, input_ids=[[1] * 41]
    )
    assert "labels has a number out of the range of int32" in refusal(
        runner, input_ids=IDS, labels=[2**40, 0]
    )
    assert refusal(runner, input_ids=IDS[0]) == "input_ids is [4]; accepted: [rows, length]"
    assert "input_ids is of float64" in refusal(runner, input_ids=IDS.astype(float))
    both = refusal(runner, input_ids=IDS, inputs_embeds=np.ones((2, 4, 32)))
    assert both.endswith(": give exactly one of input_ids and inputs_embeds")
    for arrays in (
        {"input_ids": IDS, "token_type_ids": TYPES[:, :3]},
        {"inputs_embeds": np.ones((2, 4, 31))},
        {"input_ids": IDS, "labels": [0, 7]},
    ):
        reason = refusal(runner, **arrays)
        assert reason.startswith("the tensors do not fit the model or each other: ")
        assert len(reason) < 200
        assert "node" not in reason


def test_a_model_without_positions_has_the_setting_s_length(serve: Callable[..., Any]) -> None:
    runner = serve("T5Model", {"max_sequence_tokens": 20})
    assert runner.facts.max_length == 20
    ids = np.ones((1, 21), int)
    text = (
        "input_ids has 21 tokens in a row; accepted: up to 20 (setting limits.max_sequence_tokens"
    )
    assert text in refusal(runner, input_ids=ids, decoder_input_ids=IDS[:1])


def test_weights_that_nobody_trained_are_not_served(tmp_path: Path) -> None:
    from service.worker.runners.tensorflow import TensorFlowRunner

    save("BertForMaskedLM", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointMismatch, match="are not in the files, .* would be random"):
        load(TensorFlowRunner, tmp_path)
    runner = load(TensorFlowRunner, tmp_path, pooling=("mean",))  # a trunk may lack the pooler
    (result,) = runner.run([TensorWork({"input_ids": IDS})], 1)
    assert set(result) == {"last_hidden_state"}


def test_other_dtypes_and_devices_are_refused(serve: Callable[..., Any]) -> None:
    from service.worker.runners.tensorflow import DtypeRefused

    with pytest.raises(DtypeRefused, match="'bfloat16'; accepted in TensorFlow: auto, float32"):
        serve("BertModel", {"dtype": "bfloat16"})
    with pytest.raises(DeviceMissing, match="device is 'cuda:7', but TensorFlow finds .* GPUs"):
        serve("BertModel", {"device": "cuda:7"})


def test_a_model_that_cannot_compute_batches_fails_while_it_warms_up(
    serve: Callable[..., Any],
) -> None:
    with pytest.raises(InputRejected, match="several sequences needs config.pad_token_id"):
        serve("GPT2ForSequenceClassification", pad_token_id=None)


def test_stats_count_parameters_and_bytes(both: Make) -> None:
    torch_runner, runner = both("BertModel")
    stats, other = runner.stats(2, None), torch_runner.stats(2, 10)
    assert stats.num_parameters == other.num_parameters == stats.num_trainable
    assert stats.num_bytes_by_dtype == {"float32": 4 * stats.num_parameters}
    assert (stats.forward_flops, stats.sequence_length) == (None, None)
    with pytest.raises(InputRejected, match="sequence_length is 5; accepted: none"):
        runner.stats(1, 5)


def test_preloading_computes_nothing_and_starts_no_thread() -> None:
    code = (
        "import numpy, psutil\n"
        "before = psutil.Process().num_threads()  # OpenBLAS has some\n"
        "from service.worker.runners.tensorflow import RUNNER\n"
        "RUNNER.preload()\n"
        "from tensorflow.python.eager import context\n"
        "assert context.context()._context_handle is None\n"
        "assert psutil.Process().num_threads() == before, psutil.Process().threads()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=Path(__file__).parents[4], check=False,
        capture_output=True, text=True, env={"PYTHONPATH": str(Path(__file__).parents[4])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
