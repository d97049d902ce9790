"""What a model of every stack does: one suite, the stacks and their classes as parameters."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model_base
from model_base import errors
from model_base.configs import CONFIGS
from tests.model_base.torch.models.small import SMALL
from tests.stacks.stacks import STACKS, Stack

TEXT = {
    "input_ids": np.array([[5, 6, 7, 8, 9], [10, 11, 12, 3, 4]]),
    "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}
CASES = list(
    dict.fromkeys(
        (config, name)
        for config in CONFIGS
        for name in config.heads.values()
        if f"TF{name}" in model_base.__all__
    )
)
TEXTS = [
    (config, name)
    for config, name in CASES
    if not name.startswith(("CLIP", "ViT", "Wav2Vec2")) and "MultipleChoice" not in name
]


def config_of(case: tuple[Any, str], **fields: Any) -> Any:
    config_class, name = case
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        fields["is_decoder"] = True
    if name.endswith("ForQuestionAnswering"):
        fields["num_labels"] = 2
    return SMALL[config_class](**fields)


@pytest.fixture(params=STACKS, ids=lambda stack: stack.name)
def stack(request: pytest.FixtureRequest) -> Stack:
    return request.param


def made(stack: Stack, case: tuple[Any, str], **fields: Any) -> Any:
    model = stack.model_class(case[1])(config_of(case, **fields))
    stack.randomize(model)
    return model


def inputs_of(case: tuple[Any, str]) -> dict[str, np.ndarray]:
    if config_of(case).is_encoder_decoder:
        return {**TEXT, "decoder_input_ids": TEXT["input_ids"]}
    return dict(TEXT)


def named(cases: list[tuple[Any, str]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[name for _, name in cases])


@named(CASES)
@pytest.mark.parametrize("size", ["10GB", "20KB"])
def test_a_saved_model_is_loaded_as_it_was(
    case: tuple[Any, str], size: str, stack: Stack, tmp_path: Path
) -> None:
    model = made(stack, case)
    model.save_pretrained(tmp_path, max_shard_size=size)
    again, info = stack.model_class(case[1]).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    before, after = stack.weights(model), stack.weights(again)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert again.config.architectures == [case[1]]
    assert bool(list(tmp_path.glob("*.index.json"))) == (size == "20KB")


@named(CASES)
def test_the_number_of_parameters_is_that_of_the_weights(
    case: tuple[Any, str], stack: Stack
) -> None:
    model = made(stack, case)
    assert model.num_parameters() == sum(array.size for array in stack.weights(model).values())


@named(TEXTS)
def test_a_trunk_goes_into_a_model_with_a_head_and_back(
    case: tuple[Any, str], stack: Stack, tmp_path: Path
) -> None:
    trunk_name = case[0].heads["AutoModel"]
    trunk = made(stack, (case[0], trunk_name))
    trunk.save_pretrained(tmp_path / "trunk")
    head = stack.model_class(case[1]).from_pretrained(tmp_path / "trunk", config=config_of(case))
    head.save_pretrained(tmp_path / "head")
    back = stack.model_class(trunk_name).from_pretrained(tmp_path / "head")
    before, after = stack.weights(trunk), stack.weights(back)
    kept = {name for name in before if "pooler" not in name}
    assert all(np.array_equal(before[name], after[name]) for name in kept)


@named(TEXTS)
def test_hidden_states_and_attentions_come_if_they_are_asked_for(
    case: tuple[Any, str], stack: Stack
) -> None:
    model = made(stack, case)
    output = stack.run(model, inputs_of(case), output_hidden_states=True, output_attentions=True)
    prefix = "decoder_" if model.config.is_encoder_decoder else ""
    states, weights = output[f"{prefix}hidden_states"], output[f"{prefix}attentions"]
    assert len(states) == len(weights) + 1
    plain = stack.run(model, inputs_of(case), return_dict=False)
    assert isinstance(plain, tuple)
    assert len(plain) < len(output)


@named(TEXTS)
@pytest.mark.parametrize("count", [70, 50])
def test_words_keep_their_vectors_when_the_vocabulary_changes(
    case: tuple[Any, str], count: int, stack: Stack, tmp_path: Path
) -> None:
    model = made(stack, case)
    before, words = stack.run(model, inputs_of(case))[0], stack.words(model)
    model.resize_token_embeddings(count)
    kept = min(count, len(words))
    assert stack.words(model).shape[0] == model.config.vocab_size == count
    assert np.array_equal(stack.words(model)[:kept], words[:kept])
    after = stack.run(model, inputs_of(case))[0]
    if before.shape == after.shape:
        np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_allclose(
            np.asarray(before)[..., :kept], np.asarray(after)[..., :kept], rtol=1e-5, atol=1e-5
        )
    model.save_pretrained(tmp_path)
    again, info = stack.model_class(case[1]).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert len(stack.words(again)) == count


@named(TEXTS)
def test_what_is_hidden_changes_nothing(case: tuple[Any, str], stack: Stack) -> None:
    model, inputs = made(stack, case), inputs_of(case)
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["decoder_input_ids"][:, :3]
    elif case[1] == "GPT2ForSequenceClassification":
        pytest.skip("reads the last token that is not padding")
    other = dict(inputs)
    other["input_ids"] = inputs["input_ids"].copy()
    other["input_ids"][1, 3:] = 15
    one, two = stack.run(model, inputs)[0], stack.run(model, other)[0]
    shown = np.asarray(one)[1], np.asarray(two)[1]
    if shown[0].ndim and shown[0].shape[0] == 5:
        shown = shown[0][:3], shown[1][:3]
    np.testing.assert_allclose(*shown, rtol=1e-5, atol=1e-5)


@named(CASES)
def test_a_checkpoint_that_lacks_everything_is_not_found(
    case: tuple[Any, str], stack: Stack, tmp_path: Path
) -> None:
    config_of(case).save_pretrained(tmp_path)
    with pytest.raises(errors.CheckpointNotFound):
        stack.model_class(case[1]).from_pretrained(tmp_path)
