"""Conventions: one canonical name and layout for every framework's spelling."""

import numpy as np
import pytest

from model_base.conversion.conventions import (
    Convention,
    flax_names,
    keras_names,
    to_flax_name,
    torch_names,
)
from model_base.conversion.ops import Shape

QUERY = "bert.encoder.layer.0.attention.self.query.weight"
NORM = "bert.embeddings.LayerNorm"


@pytest.mark.parametrize(
    ("convention", "name", "shape", "canonical"),
    [
        (torch_names, QUERY, (4, 4), QUERY),
        (keras_names, "bert/encoder/layer_._0/attention/self/query/kernel:0", (4, 4), QUERY),
        (keras_names, "bert/embeddings/LayerNorm/gamma:0", (4,), f"{NORM}.weight"),
        (keras_names, "bert/embeddings/LayerNorm/beta:0", (4,), f"{NORM}.bias"),
        (keras_names, "bert/embeddings/LayerNorm/gamma", (4,), f"{NORM}.weight"),
        (keras_names, "bert/embeddings/word_embeddings/weight:0", (9, 4),
         "bert.embeddings.word_embeddings.weight"),
        (keras_names, "bert/embeddings/position_embeddings/embeddings:0", (9, 4),
         "bert.embeddings.position_embeddings.weight"),
        (keras_names, "mlm___cls/predictions/bias:0", (9,), "cls.predictions.bias"),
        (keras_names, "a/b___c/kernel:0", (4, 4), "a.c.weight"),
        (keras_names, "a//b/kernel:0", (4, 4), "a.b.weight"),
        (flax_names, "bert/encoder/layer/0/attention/self/query/kernel", (4, 4), QUERY),
        (flax_names, "bert/embeddings/LayerNorm/scale", (4,), f"{NORM}.weight"),
        (flax_names, "bert/embeddings/LayerNorm/bias", (4,), f"{NORM}.bias"),
        (flax_names, "bert/embeddings/word_embeddings/embedding", (9, 4),
         "bert.embeddings.word_embeddings.weight"),
    ],
)  # fmt: skip
def test_a_framework_s_name_becomes_the_canonical_one(
    convention: Convention, name: str, shape: Shape, canonical: str
) -> None:
    assert convention(name, shape)[0] == canonical


@pytest.mark.parametrize("convention", [keras_names, flax_names])
@pytest.mark.parametrize(
    ("shape", "canonical"),
    [((3, 5), (5, 3)), ((2, 3, 5), (5, 3, 2)), ((7, 2, 3, 5), (5, 3, 7, 2))],
)
def test_a_kernel_is_turned_to_output_input_and_the_rest(
    convention: Convention, shape: Shape, canonical: Shape
) -> None:
    _, op = convention("a/kernel", shape)
    assert op is not None
    values = np.arange(np.prod(shape)).reshape(shape)
    turned = op.apply([values])
    assert op.shape([shape]) == turned.shape == canonical
    assert np.array_equal(op.inverse().apply([turned]), values)


@pytest.mark.parametrize("convention", [keras_names, flax_names])
@pytest.mark.parametrize(
    "name", ["a/bias", "a/embedding", "a/embeddings:0", "a/weight", "kernel/x"]
)
def test_what_is_no_kernel_keeps_its_layout(convention: Convention, name: str) -> None:
    assert convention(name, (3, 5))[1] is None


@pytest.mark.parametrize("convention", [torch_names, keras_names, flax_names])
@pytest.mark.parametrize("name", ["", "/", "//", ":0", "___", "_._", ".", "kernel"])
def test_odd_names_of_hostile_files_have_a_canonical_one(convention: Convention, name: str) -> None:
    assert isinstance(convention(name, ())[0], str)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bert/pooler/dense/kernel", (3, 5)),
        ("bert/embeddings/word_embeddings/embedding", (9, 4)),
        ("encoder/embedding_hidden_mapping_in/kernel", (4, 8)),
        ("h/0/ln_1/scale", (4,)),
        ("wte/embedding", (9, 4)),
        ("model/encoder/layernorm_embedding/scale", (4,)),
        ("encoder/block/0/layer/0/layer_norm/weight", (4,)),
        ("vision_model/embeddings/patch_embedding/kernel", (8, 8, 3, 4)),
        ("pooler/dense/bias", (4,)),
        ("logit_scale", ()),
    ],
)
def test_flax_names_are_found_again(name: str, shape: Shape) -> None:
    canonical, op = flax_names(name, shape)
    norms = {canonical.replace("weight", "bias")} if name.endswith("scale") else set()
    stored = op.shape([shape]) if op else shape
    again, back = to_flax_name(canonical, stored, norms)
    assert again == name
    assert (back.shape([stored]) if back else stored) == shape
