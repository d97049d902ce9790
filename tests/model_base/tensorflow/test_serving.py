"""A model as a graph and as a SavedModel, which TensorFlow alone reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from model_base import BertConfig, TFBertForSequenceClassification, TFBertModel  # noqa: E402

Small = Callable[..., BertConfig]
READ = """
import sys
import numpy as np
import tensorflow as tf

folder, name, dtype = sys.argv[1:]
signature = tf.saved_model.load(folder).signatures[name]
ids = tf.constant([[5, 6, 7], [8, 9, 0]], dtype)
result = signature(input_ids=ids, attention_mask=tf.sign(ids), token_type_ids=tf.zeros_like(ids))
print(" ".join(str(x) for x in result["logits"].numpy().reshape(-1)))
assert "model_base" not in sys.modules
"""


def inputs() -> dict[str, Any]:
    ids = tf.constant([[5, 6, 7], [8, 9, 0]])
    return {
        "input_ids": ids, "attention_mask": tf.sign(ids), "token_type_ids": tf.zeros_like(ids),
    }  # fmt: skip


@pytest.mark.parametrize("signature", ["serving_default int32", "int64_serving int64"])
@pytest.mark.parametrize("resized", [False, True])
def test_a_saved_model_gives_the_same_numbers_without_this_library(
    signature: str, resized: bool, small: Small, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    model = TFBertForSequenceClassification(small(num_labels=3))
    model.serving(inputs())  # an earlier trace must not be what is saved
    if resized:
        model.resize_token_embeddings(70)
    model.save_pretrained(tmp_path, saved_model=True, version=3)
    printed = run_python(READ, tmp_path / "saved_model" / "3", *signature.split())
    wanted = model(inputs()).logits.numpy().reshape(-1)
    np.testing.assert_allclose([float(x) for x in printed.split()], wanted, rtol=1e-5, atol=1e-6)


def test_a_graph_is_traced_once_until_a_variable_is_replaced(small: Small) -> None:
    model = TFBertModel(small())
    model.serving(inputs())
    assert model.serving is model.serving
    assert model.serving.experimental_get_tracing_count() == 1
    before = model.serving
    model.resize_token_embeddings(70)
    assert model.serving is not before
    model.get_input_embeddings().weight.assign(tf.zeros((70, 32)))
    served, eager = model.serving(inputs()), model(inputs())
    np.testing.assert_allclose(served["pooler_output"], eager.pooler_output, atol=1e-5)


def test_keras_word_for_it_writes_the_same(small: Small, tmp_path: Path) -> None:
    model = TFBertModel(small())
    model.export(str(tmp_path / "1"))
    assert (tmp_path / "1/saved_model.pb").is_file()
    with pytest.raises(ValueError, match="accepted: 'tf_saved_model'"):
        model.export(tmp_path / "2", format="onnx")


def test_the_graph_takes_any_batch_and_length(small: Small) -> None:
    model = TFBertModel(small())
    serving = model.serving
    for shape in ((1, 1), (3, 9)):
        ids = tf.ones(shape, tf.int32)
        given = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}
        served = serving(given)
        np.testing.assert_allclose(
            served["last_hidden_state"], model(given).last_hidden_state, rtol=1e-5, atol=1e-5
        )
    assert set(served) == {"last_hidden_state", "pooler_output"}


def test_hidden_states_are_served_as_one_tensor_if_the_configuration_says_so(small: Small) -> None:
    config = small(output_hidden_states=True, output_attentions=True)
    served = TFBertModel(config).serving(inputs())
    assert served["hidden_states"].shape == (3, 2, 3, 32)
    assert served["attentions"].shape == (2, 2, 4, 3, 3)


def test_versions_lie_beside_each_other_and_one_is_replaced(small: Small, tmp_path: Path) -> None:
    model = TFBertModel(small())
    for version in (1, 2, 1):
        model.save_pretrained(tmp_path, saved_model=True, version=version)
    assert sorted(path.name for path in (tmp_path / "saved_model").iterdir()) == ["1", "2"]
    assert (tmp_path / "saved_model/1/saved_model.pb").is_file()
    with pytest.raises(ValueError, match="version is 'x'; accepted: an integer"):
        model.save_pretrained(tmp_path / "new", saved_model=True, version="x")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".saving-*"))
