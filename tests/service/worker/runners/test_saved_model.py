"""The runner of SavedModels, over those that different libraries write."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.channel.messages import Load
from service.core.messages import TensorFacts
from service.core.signatures import default_signature
from service.core.work import SequenceWork, TensorWork, Want
from service.worker.runners.base import InputRejected
from tests.service.worker.runners.saved_model_files import DOUBLERS, write_module

pytestmark = pytest.mark.tensorflow
X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def load(folder: Path, **fields: Any) -> Any:
    from service.worker.runners.saved_model import SavedModelRunner

    SavedModelRunner.preload()
    order = Load(str(folder), **{"dtype": "auto", "device": "cpu"} | fields, pooling=(), threads=2,
                 max_batch_tokens=64)  # fmt: skip
    runner = SavedModelRunner.load(order, lambda done, total: None)
    runner.warm_up()
    return runner


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("module") / "1"
    write_module(folder)
    return load(folder)


def ask(runner: Any, signature: str, **arrays: Any) -> Any:
    work = TensorWork({n: np.asarray(a) for n, a in arrays.items()}, signature=signature)
    return runner.run([work], 1)[0]


def refusal(runner: Any, signature: str, **arrays: Any) -> str:
    with pytest.raises(InputRejected) as caught:
        ask(runner, signature, **arrays)
    return str(caught.value)


@pytest.mark.parametrize("by", DOUBLERS)
def test_whoever_wrote_it_its_signature_is_found_and_computes(by: str, tmp_path: Path) -> None:
    DOUBLERS[by](tmp_path / "1")
    runner = load(tmp_path / "1")
    facts = runner.facts
    name = default_signature(facts.signatures)
    assert name is not None
    signature = facts.signatures[name]
    assert signature.is_batched
    assert list(signature.inputs.values()) == [TensorFacts("float32", (None, 3))]
    (given,), (output,) = signature.inputs, signature.outputs
    np.testing.assert_array_equal(ask(runner, name, **{given: X})[output], 2 * X)
    assert facts.framework == "saved_model"
    stats = runner.stats(1, None)
    assert stats.num_parameters == facts.num_parameters == {"module": 13, "keras": 12, "tf1": 3}[by]
    assert facts.num_bytes == 4 * facts.num_parameters
    assert stats.forward_flops is stats.num_trainable is stats.num_without_embeddings is None


def test_ours_computes_what_its_model_does_in_both_integer_types(tmp_path: Path) -> None:
    import model_base

    model = model_base.TFBertForSequenceClassification(
        model_base.BertConfig(
            vocab_size=61,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=40,
        )  # fmt: skip
    )
    inputs = {
        name: np.full((2, 5), value, np.int32)
        for name, value in (("input_ids", 7), ("attention_mask", 1), ("token_type_ids", 0))
    }
    wanted = model(dict(inputs)).logits.numpy()
    model.save_pretrained(tmp_path, saved_model=True, version=3)
    runner = load(tmp_path / "saved_model" / "3")
    assert runner.facts.num_parameters == model.num_parameters()
    for signature in ("serving_default", "int64_serving"):
        logits = ask(runner, signature, **inputs)["logits"]
        np.testing.assert_allclose(logits, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["bertforsequenceclassification", "gpt2lmheadmodel"])
def test_one_of_transformers_4_19_gives_the_numbers_it_gave_then(fixtures: Path, name: str) -> None:
    folder = fixtures / f"tf_{name}_savedmodel"
    runner = load(folder / "ckpt" / "saved_model" / "1")
    expected = np.load(folder / "expected.npz")
    inputs = {name: expected[f"in.{name}"] for name in runner.facts.inputs}
    outputs = ask(runner, "serving_default", **inputs)
    for output, values in outputs.items():
        np.testing.assert_allclose(values, expected[f"saved_model.{output}"], 1e-4, 1e-4)
    facts = json.loads((folder / "expected.json").read_text())
    assert runner.facts.num_parameters == facts["num_parameters"]["only_trainable=False"]


def test_a_batch_is_split_back_exactly(module: Any) -> None:
    arrays = [X, X[:1] * 10, np.zeros((3, 3), np.float32)]
    work = [TensorWork({"x": array}, signature="serving_default", joins=True) for array in arrays]
    for array, result in zip(arrays, module.run(work, 1), strict=True):
        np.testing.assert_array_equal(result["y"], 2 * array)


def test_texts_come_in_and_out_as_bytes(module: Any) -> None:
    texts = np.array([b"a\x00", "é".encode()], object)
    outputs = ask(module, "shout", text=texts)
    assert outputs["loud"].tolist() == [b"A\x00", "é".encode()]
    assert outputs["raw_bytes"].tolist() == texts.tolist()


def test_numbers_become_the_dtype_of_the_graph_if_they_can(module: Any) -> None:
    outputs = ask(module, "look_up", ids=np.array([[1, 9]], np.int64), plus=0.1)
    assert outputs["found"].dtype == np.float64
    assert outputs["found"].tolist() == [[1.1, 9.1]]
    assert outputs["count"] == 2
    assert ask(module, "serving_default", x=np.ones((1, 3), np.int64))["y"].tolist() == [[2] * 3]


@pytest.mark.parametrize(
    ("signature", "arrays", "words"),
    [
        ("serving_default", {"z": X}, "unknown input 'z'; accepted: x"),
        ("look_up", {"plus": 0.0}, "input 'ids' is missing; accepted: ids, plus"),
        ("serving_default", {"x": X[0]}, "x has the shape [3]; accepted: [any, 3]"),
        ("serving_default", {"x": X[:, :2]}, "x has the shape [2, 2]; accepted: [any, 3]"),
        ("serving_default", {"x": X > 0}, "x is of bool; accepted: float32"),
        ("serving_default", {"x": np.full((1, 3), b"a", object)}, "x is of texts; accepted: float"),
        ("serving_default", {"x": np.full((1, 3), 1e300)}, "out of the range of float32"),
        ("embed", {"ids": [[0.5]]}, "ids is of float64; accepted: int32"),
        ("embed", {"ids": [[2**40]]}, "ids has a number out of the range of int32"),
        ("shout", {"text": [1]}, "text is of int64; accepted: string"),
        (
            "embed",
            {"ids": [[10]]},
            "the graph refuses the input: indices[0,0] = 10 is not in [0, 10)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    module: Any, signature: str, arrays: dict[str, Any], words: str
) -> None:
    text = refusal(module, signature, **arrays)
    assert words in text
    assert "node" not in text


def test_a_double_is_as_wide_as_the_graph_says(module: Any) -> None:
    assert ask(module, "spin", x=np.array([-1e300]))["y"].tolist() == [-1e300]


def test_a_graph_that_never_ends_is_ended_when_nobody_waits_for_it(module: Any) -> None:
    due = time.monotonic() + 0.2
    work = TensorWork({"x": np.full(1, 1e300)}, signature="spin", deadline_s=due)
    with pytest.raises(InputRejected, match="had not ended when the request's time was up"):
        module.run([work], 1)
    assert time.monotonic() > due
    later = replace(work, arrays={"x": -np.ones(1)}, deadline_s=time.monotonic() + 60)
    assert module.run([later], 1)[0]["y"].tolist() == [-1]


@pytest.mark.parametrize("left_s", [-10.0, 0.2])
def test_of_requests_that_run_together_the_earliest_deadline_counts(
    module: Any, left_s: float
) -> None:
    """Then each is computed alone, so that none is late for another's sake."""
    now = time.monotonic()

    def work(value: float, seconds: float) -> TensorWork:
        x = np.array([value])
        return TensorWork({"x": x}, signature="spin", joins=True, deadline_s=now + seconds)

    answers = module.run([work(0, 60), work(2, 60)], 1)
    assert [answer["y"].tolist() for answer in answers] == [[-2], [0]]
    for one, other in ((1e300, 0), (0, 1e300)):
        with pytest.raises(InputRejected, match="had not ended"):
            module.run([work(one, left_s), work(other, 60)], 1)


def test_rows_of_ids_are_as_long_as_the_setting_allows(tmp_path: Path) -> None:
    write_module(tmp_path / "1")
    runner = load(tmp_path / "1", max_sequence_tokens=32)
    assert ask(runner, "embed", ids=np.zeros((2, 32), int))["root"].shape == (2, 32)
    for rows, length in ((1, 33), (3, 32)):
        text = refusal(runner, "embed", ids=np.zeros((rows, length), int))
        assert f"ids has {rows} rows of {length} ids" in text
        assert "limits.max_sequence_tokens" in text
    assert ask(runner, "serving_default", x=np.ones((99, 3)))["y"].shape == (99, 3)


def test_what_a_saved_model_cannot_do_is_refused(module: Any, tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="takes no tokenised text"):
        module.run([SequenceWork(np.zeros(3, np.int32), Want.LOGITS)], 1)
    with pytest.raises(InputRejected, match="sequence_length is 5; accepted: none"):
        module.stats(1, 5)
    write_module(tmp_path / "1")
    with pytest.raises(ValueError, match="dtype is 'float16'; accepted: auto"):
        load(tmp_path / "1", dtype="float16")
    with pytest.raises(ValueError, match="TensorFlow finds"):
        load(tmp_path / "1", device="cuda:9")
    shutil.rmtree(tmp_path / "1" / "variables")
    with pytest.raises(Exception, match="variables"):
        load(tmp_path / "1")


def test_a_saved_model_without_signatures_says_how_to_save_it(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(ValueError, match="no signature that takes and gives plain tensors"):
        load(tmp_path / "1")


def test_a_graph_whose_variables_nobody_fills_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    """Keras 3 writes such, if it is not asked to export."""
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    tf.saved_model.save(model, str(tmp_path / "1"))
    with pytest.raises(ValueError, match=r"never fills .* save it with model.export"):
        load(tmp_path / "1")


def test_loading_changes_nothing_and_a_signature_that_fails_on_zeros_is_served(
    tmp_path: Path,
) -> None:
    import tensorflow as tf

    class Counter(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.count = tf.Variable(5.0), tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def times(self, x: Any) -> Any:
            return self.weight * x

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def set(self, x: Any) -> Any:
            return self.weight.assign(x[0]) * x

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def add(self, x: Any) -> Any:
            return tf.while_loop(
                lambda n, _: n < 1, lambda n, y: (n + 1, y + self.count.assign_add(1.0)), (0, x)
            )[1]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def read(self, path: Any) -> Any:
            return tf.map_fn(tf.io.read_file, path)

    counter = Counter()
    signatures = {name: getattr(counter, name) for name in ("times", "set", "add", "read")}
    tf.saved_model.save(counter, str(tmp_path / "1"), signatures=signatures)
    runner = load(tmp_path / "1")
    assert ask(runner, "times", x=np.ones(1, np.float32)).popitem()[1].tolist() == [5.0]
    assert ask(runner, "add", x=np.zeros(1, np.float32)).popitem()[1].tolist() == [1.0]
