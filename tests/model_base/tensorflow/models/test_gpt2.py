"""GPT-2 in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from model_base import (
    GPT2Config,
    TFGPT2ForSequenceClassification,
    TFGPT2LMHeadModel,
    TFGPT2Model,
    UnsupportedConfig,
)
from model_base.tensorflow.module_utils import named_variables
from tests.model_base.tensorflow.models.parity import (
    CHOICES,
    TEXT,
    TEXT_LABELS,
    as_tf,
    assert_same,
    check_parity,
)
from tests.model_base.torch.models.small import SMALL

LABELS = {"labels": np.array([[5, -100, 7, 8, 9], [10, 11, -100, -100, -100]])}
MC_TOKENS = {"mc_token_ids": np.array([[4, 2], [3, 1]])}

HEADS: dict[str, Any] = {
    "Model": (TEXT, None),
    "LMHeadModel": (TEXT, LABELS),
    "DoubleHeadsModel": (CHOICES | MC_TOKENS, None),
    "ForSequenceClassification": (TEXT, TEXT_LABELS),
}


@pytest.mark.parametrize("kind", HEADS)
def test_each_head_computes_what_pytorch_does(kind: str, tmp_path: Path) -> None:
    check_parity(tmp_path, f"GPT2{kind}", SMALL[GPT2Config](), *HEADS[kind])


@pytest.mark.parametrize("kind", ["cls_index", "last", "first", "mean"])
def test_choices_are_summarised_as_the_configuration_says(kind: str, tmp_path: Path) -> None:
    config = SMALL[GPT2Config](summary_type=kind, summary_activation="tanh")
    check_parity(tmp_path, "GPT2DoubleHeadsModel", config, CHOICES | MC_TOKENS)


@pytest.mark.parametrize("fields", [
    {"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}, {"n_inner": 20},
])  # fmt: skip
def test_fields_of_the_configuration_mean_what_they_do_in_pytorch(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    check_parity(tmp_path, "GPT2Model", SMALL[GPT2Config](**fields), TEXT)


def test_a_decoder_attends_over_an_encoder(tmp_path: Path) -> None:
    config = SMALL[GPT2Config](add_cross_attention=True)
    states = np.random.default_rng(0).normal(size=(2, 3, 32)).astype(np.float32)
    inputs = TEXT | {
        "encoder_hidden_states": states,
        "encoder_attention_mask": np.array([[1, 1, 1], [1, 1, 0]]),
        "head_mask": np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.5, 1.0]], np.float32),
    }
    check_parity(tmp_path, "GPT2LMHeadModel", config, inputs)


def test_a_cache_is_one_tensor_a_layer_and_stands_for_the_tokens_before() -> None:
    model, tokens = TFGPT2LMHeadModel(SMALL[GPT2Config]()), as_tf(TEXT["input_ids"])
    first = model(tokens[:, :-2])
    assert [tuple(layer.shape) for layer in first.past_key_values] == [(2, 2, 4, 3, 8)] * 2
    rest = model(tokens[:, -2:], past=first.past_key_values)
    assert_same(rest.logits, model(tokens).logits[:, -2:])
    assert rest.past_key_values[0].shape[3] == tokens.shape[1]
    assert "past_key_values" not in model(tokens, use_cache=False)


def test_what_is_hidden_before_a_cache_stays_hidden() -> None:
    model, tokens = TFGPT2LMHeadModel(SMALL[GPT2Config]()), as_tf(TEXT["input_ids"])
    mask = tf.concat([[[0, 1], [1, 0]], tf.ones_like(tokens[:, 2:])], axis=1)
    first = model(tokens[:, :-2], attention_mask=mask[:, :-2])
    rest = model(tokens[:, -2:], past=first.past_key_values, attention_mask=mask)
    assert_same(rest.logits, model(tokens, attention_mask=mask).logits[:, -2:])
    assert not np.allclose(rest.logits, model(tokens).logits[:, -2:], atol=1e-4)


def test_what_is_served_has_the_cache_as_one_tensor() -> None:
    model = TFGPT2Model(SMALL[GPT2Config]())
    served = model.serving({n: as_tf(TEXT[n]) for n in ("input_ids", "attention_mask")})
    assert served["past_key_values"].shape == (2, 2, 2, 4, 5, 8)


def test_several_texts_without_padding_id_cannot_be_classified() -> None:
    model = TFGPT2ForSequenceClassification(SMALL[GPT2Config](pad_token_id=None))
    ids = as_tf(TEXT["input_ids"])
    with pytest.raises(ValueError, match="pad_token_id"):
        model(ids)
    assert model(ids[:1]).logits.shape == (1, 3)


def test_embeddings_take_the_place_of_ids() -> None:
    model, ids = TFGPT2Model(SMALL[GPT2Config]()), as_tf(TEXT["input_ids"])
    words = model.get_input_embeddings()
    assert_same(model(inputs_embeds=words(ids))[0], model(ids)[0])


def test_scores_with_a_table_of_their_own_are_refused() -> None:
    with pytest.raises(UnsupportedConfig, match="tie_word_embeddings"):
        TFGPT2LMHeadModel(SMALL[GPT2Config](tie_word_embeddings=False))


def test_words_are_read_and_scored_by_one_table_after_it_is_set() -> None:
    model = TFGPT2LMHeadModel(SMALL[GPT2Config]())
    table = tf.random.normal((61, 32))
    model.set_output_embeddings(table)
    assert np.array_equal(model.get_input_embeddings().weight, table)
    assert model.get_output_embeddings() is model.get_input_embeddings()


def test_files_of_tensorflow_1_are_read(tmp_path: Path) -> None:
    written = TFGPT2LMHeadModel(SMALL[GPT2Config]())
    written.config.save_pretrained(tmp_path)
    stored = {_name_of_1(name): v for name, v in named_variables(written).items()}
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"), tensor_names=list(stored),
        shape_and_slices=[""] * len(stored),
        tensors=[_values_of_1(name, variable) for name, variable in stored.items()],
    )  # fmt: skip
    model, info = TFGPT2Model.from_pretrained(
        tmp_path / "model.ckpt", from_tf=True, output_loading_info=True
    )
    assert not any(info.values())
    ids = as_tf(TEXT["input_ids"])
    assert_same(model(ids)[0], written.transformer(ids)[0])


def _name_of_1(name: str) -> str:
    """As OpenAI named the variable."""
    last = {"weight": "w", "bias": "b", "gamma": "g", "beta": "b"}
    name = name.replace("transformer/", "model/").replace("h_._", "h")
    *scope, end = name.split("/")
    table = scope[-1] in ("wte", "wpe")
    return "/".join(scope if table else [*scope, last[end]])


def _values_of_1(name: str, variable: Any) -> Any:
    """As OpenAI laid them out: kernels of convolutions of width 1, and flat biases."""
    values = tf.convert_to_tensor(variable)
    return values[None] if name.endswith("/w") else tf.squeeze(values)
