import json
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import model_base
from model_base import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    CheckpointMismatch,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)
from service.channel.messages import Load
from service.core.work import SequenceWork, TensorWork, Want
from service.worker.runners.base import InputRejected
from service.worker.runners.torch import TorchRunner
from tests.model_base.torch.models.small import SMALL

CONFIG = {
    "vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "max_position_embeddings": 300,
}  # fmt: skip
LENGTHS = (1, 17, 5, 140)


@pytest.fixture
def make(tmp_path):
    """Write a small model of a class and load it as the worker does."""

    def build(kind, *, pooling=(), dtype="auto", **config):
        torch.manual_seed(0)
        kind(BertConfig(**{**CONFIG, **config})).save_pretrained(tmp_path)
        order = Load(str(tmp_path), dtype, "cpu", pooling, threads=2, max_batch_tokens=64)
        runner = TorchRunner.load(order, lambda done, total: None)
        runner.warm_up()
        return runner

    return build


def sequences(want):
    rng = np.random.default_rng(0)
    return [SequenceWork(rng.integers(0, 100, n).astype(np.int32), want) for n in LENGTHS]


def alone(folder: Path, kind, work):
    """The model's own answer on one sequence, padded layout, without the runner."""
    model = kind.from_pretrained(folder)
    with torch.no_grad():
        return model(torch.tensor(work.input_ids[None].astype(np.int64)))


def test_a_packed_batch_gives_each_sequence_its_own_mean(make, tmp_path):
    runner = make(BertModel, pooling=("mean",))
    work = sequences(Want.EMBEDDING)
    for item, result in zip(work, runner.run(work, 1), strict=True):
        wanted = alone(tmp_path, BertModel, item).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(result["embedding"], wanted, atol=1e-5)


def test_without_pooling_each_token_keeps_its_vector(make, tmp_path):
    work = sequences(Want.HIDDEN)
    for item, result in zip(work, make(BertModel).run(work, 1), strict=True):
        wanted = alone(tmp_path, BertModel, item).last_hidden_state[0]
        np.testing.assert_allclose(result["last_hidden_state"], wanted, atol=1e-5)


def test_a_classifier_gives_one_row_a_sequence(make, tmp_path):
    work = sequences(Want.LOGITS)
    runner = make(BertForSequenceClassification, num_labels=3)
    for item, result in zip(work, runner.run(work, 1), strict=True):
        wanted = alone(tmp_path, BertForSequenceClassification, item).logits[0]
        np.testing.assert_allclose(result["logits"], wanted, atol=1e-5)


def test_question_answering_gives_two_scores_a_token(make, tmp_path):
    work = sequences(Want.LOGITS)
    for item, result in zip(work, make(BertForQuestionAnswering).run(work, 1), strict=True):
        wanted = alone(tmp_path, BertForQuestionAnswering, item)
        np.testing.assert_allclose(result["start_logits"], wanted.start_logits[0], atol=1e-5)
        np.testing.assert_allclose(result["end_logits"], wanted.end_logits[0], atol=1e-5)


def test_token_types_are_used(make):
    ids = np.arange(5, dtype=np.int32)
    types = np.array([0, 0, 1, 1, 1], np.int32)
    plain, typed = make(BertModel, pooling=("mean",)).run(
        [SequenceWork(ids, Want.EMBEDDING), SequenceWork(ids, Want.EMBEDDING, types)], 1
    )
    assert np.abs(plain["embedding"] - typed["embedding"]).max() > 1e-3


def test_raw_tensors_go_through_the_documented_forward(make, tmp_path):
    ids = np.array([[1, 2, 3], [4, 5, 0]])
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    runner = make(BertModel)
    (result,) = runner.run([TensorWork({"input_ids": ids, "attention_mask": mask})], 1)
    model = BertModel.from_pretrained(tmp_path)
    with torch.no_grad():
        wanted = model(torch.tensor(ids), torch.tensor(mask))
    np.testing.assert_allclose(result["pooler_output"], wanted.pooler_output, atol=1e-5)


def test_an_encoder_decoder_takes_raw_tensors_and_no_text_alone(tmp_path):
    config = T5Config(vocab_size=61, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    model = T5ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    runner = TorchRunner.load(order, lambda done, total: None)
    runner.warm_up()
    assert (runner.facts.task, runner.facts.max_length) == ("text2text-generation", 2**31 - 1)
    assert runner.facts.inputs == ("input_ids", "decoder_input_ids")
    ids = np.array([[5, 6, 7]])
    (result,) = runner.run([TensorWork({"input_ids": ids, "decoder_input_ids": ids[:, :2]}, 3)], 1)
    with torch.no_grad():
        wanted = model(torch.tensor(ids), decoder_input_ids=torch.tensor(ids[:, :2])).logits
    np.testing.assert_allclose(result["logits"], wanted, atol=1e-5)
    text = SequenceWork(ids[0].astype(np.int32), Want.LOGITS)
    with pytest.raises(InputRejected, match="raw tensors input_ids, decoder_input_ids"):
        runner.run([text], 1)


def test_a_pooler_that_nobody_trained_is_not_heard_of(make, tmp_path):
    make(BertModel)
    BertModel(BertConfig(**CONFIG), add_pooling_layer=False).save_pretrained(tmp_path)
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    runner = TorchRunner.load(order, lambda done, total: None)
    (result,) = runner.run([TensorWork({"input_ids": np.array([[1, 2]])}, 2)], 1)
    assert list(result) == ["last_hidden_state"]


def test_a_classifier_without_its_pooler_is_not_served(tmp_path):
    model = BertForSequenceClassification(BertConfig(**CONFIG))
    kept = {name: value for name, value in model.state_dict().items() if "pooler" not in name}
    model.save_pretrained(tmp_path, state_dict=kept)
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    with pytest.raises(CheckpointMismatch, match=r"bert\.pooler\.dense.*random"):
        TorchRunner.load(order, lambda done, total: None)


def test_counting_more_than_can_be_counted_is_refused(tmp_path):
    config = T5Config(vocab_size=61, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    runner = TorchRunner.load(order, lambda done, total: None)
    with pytest.raises(InputRejected, match="1000000 sequences of 1000000 tokens"):
        runner.stats(10**6, 10**6)


def test_a_class_that_no_auto_class_picks_is_served_as_itself(tmp_path):
    config = T5Config(vocab_size=61, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    T5EncoderModel(config).save_pretrained(tmp_path)
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    runner = TorchRunner.load(order, lambda done, total: None)
    runner.warm_up()
    assert (runner.facts.architecture, runner.facts.task) == (
        "T5EncoderModel", "feature-extraction",
    )  # fmt: skip


def test_every_head_that_is_named_warms_up(tmp_path):
    for name in ("BertForMultipleChoice", "DistilBertForMultipleChoice",
                 "ModernBertForMultipleChoice", "BertForPreTraining"):  # fmt: skip
        kind = getattr(model_base, name)
        config = SMALL[kind.config_class]()
        kind(config).save_pretrained(tmp_path / name)
        order = Load(str(tmp_path / name), "auto", "cpu", (), threads=1, max_batch_tokens=64)
        TorchRunner.load(order, lambda done, total: None).warm_up()


def test_the_model_s_own_words_reach_the_client(tmp_path):
    config = T5Config(vocab_size=61, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    runner = TorchRunner.load(order, lambda done, total: None)
    with pytest.raises(InputRejected, match="decoder_input_ids is missing"):
        runner.run([TensorWork({"input_ids": np.array([[1, 2]])}, 2)], 1)


def test_a_decoder_is_packed_causally_and_takes_no_token_types(tmp_path):
    config = LlamaConfig(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, max_position_embeddings=64)  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    runner = TorchRunner.load(order, lambda done, total: None)
    runner.warm_up()
    texts = [np.arange(3, 3 + n, dtype=np.int32) for n in (5, 2)]
    work = [SequenceWork(ids, Want.LOGITS, token_type_ids=np.zeros_like(ids)) for ids in texts]
    for ids, result in zip(texts, runner.run(work, 1), strict=True):
        with torch.no_grad():
            wanted = model(torch.tensor(ids[None].astype(np.int64))).logits[0]
        np.testing.assert_allclose(result["logits"], wanted, atol=1e-5)


@pytest.mark.parametrize("vocab_size", [100, 2_000_000_000])
def test_weights_that_nobody_trained_are_not_served(make, tmp_path, vocab_size):
    """Nor given memory: 512 GB, in the second case."""
    make(BertModel)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": vocab_size}))
    (tmp_path / "model.safetensors").unlink()
    save_file(
        {"embeddings.LayerNorm.weight": np.ones(64, np.float32)}, tmp_path / "model.safetensors"
    )
    order = Load(str(tmp_path), "auto", "cpu", (), threads=1, max_batch_tokens=64)
    with pytest.raises(CheckpointMismatch, match="answers would be random"):
        TorchRunner.load(order, lambda done, total: None)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"words": np.zeros((1, 2))}, "unknown input 'words'; accepted: attention_mask"),
        ({"input_ids": np.array([[100]])}, "input_ids has values from 100 to 100"),
        ({"input_ids": np.array([[-1]])}, "accepted: 0 to 99"),
        ({"input_ids": np.zeros((1, 301), int)}, "accepted: up to 300"),
        (
            {"input_ids": np.zeros((2, 3), int), "token_type_ids": np.zeros((4, 9), int)},
            r"do not fit the model or each other: input_ids \[2, 3\]",
        ),
        ({"input_ids": np.zeros((1, 2))}, "input_ids is of float64; accepted: integers"),
        ({"attention_mask": np.array(2)}, "attention_mask has the value 2"),
        ({"input_ids": np.array(1), "attention_mask": np.array(1)}, "accepted: .rows, length"),
        (
            {"input_ids": np.ones((2, 3), int), "attention_mask": np.ones((1, 3))},
            r"mask is \[1, 3\]",
        ),
        ({"inputs_embeds": np.zeros((1, 301, 64), np.float32)}, "301 tokens in a row; accepted: "),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(make, arrays, text):
    with pytest.raises(InputRejected, match=text):
        make(BertModel).run([TensorWork(arrays)], 1)


def test_facts_and_counts_are_those_of_the_model_as_stored(make, tmp_path):
    runner = make(BertModel, pooling=("mean",), dtype="bfloat16")
    model = BertModel.from_pretrained(tmp_path)
    facts, stats = runner.facts, runner.stats(2, 10)
    assert facts.num_parameters == stats.num_parameters == model.num_parameters()
    assert facts.dtype == "bfloat16"
    assert facts.num_bytes == 2 * model.num_parameters()
    assert stats.floating_point_ops == 6 * 20 * model.num_parameters(exclude_embeddings=True)
    assert stats.forward_flops == model.forward_flops(2, 10)
    assert (stats.batch_size, stats.sequence_length) == (2, 10)
    assert stats.inputs == {"input_ids": (2, 10)}


def serve(kind, folder, **order):
    """A small model of a class as the worker loads it."""
    torch.manual_seed(0)
    config = SMALL[kind.config_class]()
    if kind.main_input_name == "input_values":
        del config.max_position_embeddings  # sound has none
    kind(config).save_pretrained(folder)
    order = Load(str(folder), "auto", "cpu", (), threads=1, max_batch_tokens=64, **order)
    runner = TorchRunner.load(order, lambda done, total: None)
    runner.warm_up()
    return runner


@pytest.mark.parametrize("kind", [model_base.T5ForConditionalGeneration, model_base.T5Model])
@pytest.mark.parametrize("name", ["input_ids", "decoder_input_ids", "labels", "inputs_embeds"])
def test_a_row_of_a_model_without_positions_has_the_setting_s_length(tmp_path, kind, name):
    runner = serve(kind, tmp_path, max_sequence_tokens=20)
    assert runner.facts.max_length == 20
    if name not in runner._arguments:
        return
    arrays = {n: np.ones((2, 20), int) for n in ("input_ids", "decoder_input_ids")}
    runner.run([TensorWork(arrays)], 1)
    size = (2, 21, runner._model.config.d_model) if name == "inputs_embeds" else (2, 21)
    arrays[name] = np.ones(size, np.float32 if name == "inputs_embeds" else int)
    text = (
        rf"{name} has 21 tokens in a row; accepted: up to 20 \(setting limits.max_sequence_tokens"
    )
    with pytest.raises(InputRejected, match=text):
        runner.run([TensorWork(arrays)], 1)


def test_rows_of_a_model_without_positions_have_a_limit_together(tmp_path):
    runner = serve(model_base.T5Model, tmp_path, max_sequence_tokens=20)
    ids = np.ones((64, 4), int)  # 64 tokens a batch are 20 x 64 pairs, 16 a row
    runner.run([TensorWork({"input_ids": ids, "decoder_input_ids": ids})], 1)
    more = np.ones((81, 4), int)
    text = r"input_ids has 81 rows of 4 tokens, .* up to 80 of them \(setting limits\."
    with pytest.raises(InputRejected, match=text):
        runner.run([TensorWork({"input_ids": more, "decoder_input_ids": more})], 1)


def test_a_model_s_own_limit_is_not_the_setting_s(tmp_path):
    runner = serve(BertModel, tmp_path, max_sequence_tokens=3)
    assert runner.facts.max_length == runner._model.max_tokens > 3


@pytest.mark.parametrize("setting", [5, 64, 70])
def test_sound_is_as_long_as_the_setting_s_frames(tmp_path, setting):
    runner = serve(model_base.Wav2Vec2ForCTC, tmp_path, max_sequence_tokens=setting)
    assert runner.facts.max_length == setting

    def ask(frames):
        sound = runner._model.example_inputs(1, frames)["input_values"].numpy()
        return runner.run([TensorWork({"input_values": sound})], 1)[0]["logits"]

    assert ask(setting).shape[1] == setting
    text = rf"has {setting + 1} frames in a row; accepted: up to {setting} \(setting "
    with pytest.raises(InputRejected, match=text):
        ask(setting + 1)


@pytest.mark.parametrize(
    ("name", "shapes", "length", "has_ops"),
    [
        ("BertModel", {"input_ids": (2, 8)}, 8, True),
        ("T5Model", {"input_ids": (2, 8), "decoder_input_ids": (2, 8)}, 8, True),
        ("ViTModel", {"pixel_values": (2, None, None, None)}, None, False),
        ("CLIPModel", {"input_ids": (2, 8), "pixel_values": (2, None, None, None)}, 8, False),
        ("Wav2Vec2Model", {"input_values": (2, None)}, 8, False),
        ("WhisperModel", {"input_features": (2, None, None), "decoder_input_ids": (2, 8)}, 8,
         False),
    ],
)  # fmt: skip
def test_stats_say_what_they_counted(tmp_path, name, shapes, length, has_ops):
    runner = serve(getattr(model_base, name), tmp_path)
    if length is None:
        with pytest.raises(InputRejected, match=f"{name} takes no sequences, only pixel_values; "):
            runner.stats(2, 8)
    stats = runner.stats(2, length)
    assert stats.sequence_length == length
    assert (stats.floating_point_ops is not None) == has_ops
    assert stats.inputs.keys() == shapes.keys()
    for key, shape in shapes.items():
        for seen, known in zip(stats.inputs[key], shape, strict=True):
            assert seen == (known or seen) > 0


def test_stats_of_a_short_model_are_of_the_longest_it_takes(make):
    assert make(BertModel).stats(1, None).sequence_length == 128
    assert make(BertModel, max_position_embeddings=100).stats(1, None).sequence_length == 100


def test_counting_beyond_the_positions_is_refused(make):
    with pytest.raises(InputRejected, match="accepted: 1 to 300"):
        make(BertModel).stats(1, 301)


def test_two_lanes_at_once_do_not_disturb_each_other(make):
    runner = make(BertModel, pooling=("mean",))
    work = sequences(Want.EMBEDDING)
    wanted = [result["embedding"] for result in runner.run(work, 1)]
    wrong = []

    def lane():
        for _ in range(20):
            for result, vector in zip(runner.run(work, 1), wanted, strict=True):
                if np.abs(result["embedding"] - vector).max() > 1e-5:
                    wrong.append(result)

    lanes = [Thread(target=lane) for _ in range(2)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    assert not wrong
