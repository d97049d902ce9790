"""The ways in which a model is given its inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from model_base import (  # noqa: E402
    BertConfig,
    TFBertMainLayer,
    TFBertModel,
    keras_serializable,
)
from model_base.tensorflow.layers import Layer  # noqa: E402

Small = Callable[..., BertConfig]
IDS = tf.constant([[5, 6, 7], [8, 9, 0]])
MASK = tf.sign(IDS)


@pytest.fixture
def model(small: Small) -> Any:
    return TFBertModel(small())


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model(IDS, MASK),
        lambda model: model(IDS, attention_mask=MASK),
        lambda model: model(input_ids=IDS, attention_mask=MASK),
        lambda model: model({"input_ids": IDS, "attention_mask": MASK}),
        lambda model: model({"input_ids": IDS}, attention_mask=MASK),
        lambda model: model([IDS, MASK]),
        lambda model: model((IDS, MASK)),
        lambda model: model({"input_ids": IDS.numpy(), "attention_mask": MASK.numpy()}),
        lambda model: tf.function(model)({"input_ids": IDS, "attention_mask": MASK}),
    ],
    ids=[
        "positions",
        "a name",
        "names",
        "a mapping",
        "both",
        "a list",
        "a tuple",
        "arrays",
        "graph",
    ],
)
def test_the_inputs_are_the_same_however_they_are_given(call: Any, model: Any) -> None:
    wanted = model(input_ids=IDS, attention_mask=MASK).last_hidden_state
    np.testing.assert_allclose(call(model).last_hidden_state, wanted, rtol=1e-5, atol=1e-5)


def test_an_old_name_is_understood_with_a_warning(model: Any) -> None:
    with pytest.warns(FutureWarning, match="inputs is called input_ids now"):
        model.call(None, inputs=IDS)


def test_what_is_no_argument_is_refused_and_an_input_too_many_is_told(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="got the argument 'labels'"):
        model.call(IDS, labels=IDS)
    with pytest.raises(ValueError, match="input_ids is a str"):
        model.call("text")
    model({"input_ids": IDS, "labels": IDS})
    assert "'labels' is not used" in caplog.text


def test_arguments_ask_for_outputs_and_the_configuration_otherwise(small: Small) -> None:
    model = TFBertModel(small(output_hidden_states=True))
    assert len(model(IDS).hidden_states) == 3
    assert "hidden_states" not in model(IDS, output_hidden_states=False)
    assert isinstance(model(IDS, return_dict=False), tuple)


def test_in_a_graph_the_configuration_alone_decides(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    graph = tf.function(lambda ids: dict(model(ids, output_attentions=True, return_dict=False)))
    assert set(graph(IDS)) == {"last_hidden_state", "pooler_output"}
    assert "output_attentions" in caplog.text


def test_a_layer_of_a_configuration_can_be_serialized(small: Small) -> None:
    layer = TFBertMainLayer(small())
    again = type(layer).from_config(layer.get_config())
    assert again.config == layer.config
    with pytest.raises(ValueError, match="config is a int"):
        TFBertMainLayer(5)
    with pytest.raises(AttributeError, match="needs config_class"):
        keras_serializable(type("Bare", (Layer,), {}))
