"""What the runner does with mixed batches, decoders, half precision and absent devices."""

import numpy as np
import pytest
import torch

from model_base import BertConfig, BertModel
from service.channel.messages import Load
from service.core.work import SequenceWork, TensorWork, Want
from service.worker.runners.torch import DeviceMissing, TorchRunner, _device

CONFIG = {
    "vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "max_position_embeddings": 300, "initializer_range": 0.3,
}  # fmt: skip
LENGTHS = (3, 17, 1, 6)
IDS = ("input_ids", "token_type_ids")


@pytest.fixture
def load(tmp_path):
    """Write a small BERT and load it as the worker does."""

    def build(*, dtype="auto", device="cpu", **config):
        torch.manual_seed(0)
        BertModel(BertConfig(**CONFIG, **config)).save_pretrained(tmp_path)
        order = Load(str(tmp_path), dtype, device, (), threads=2, max_batch_tokens=64)
        return TorchRunner.load(order, lambda done, total: None)

    return build


def check_each_alone(runner, folder, batch):
    """The runner's answers are those of the model on each sequence by itself."""
    model = BertModel.from_pretrained(folder)
    for item, result in zip(batch, runner.run(batch, 1), strict=True):
        types = (
            np.zeros_like(item.input_ids) if item.token_type_ids is None else item.token_type_ids
        )
        with torch.no_grad():
            wanted = model(
                torch.from_numpy(item.input_ids[None]).long(),
                token_type_ids=torch.from_numpy(types[None]).long(),
            )
        got = result["last_hidden_state"]
        np.testing.assert_allclose(got, wanted.last_hidden_state[0], atol=2e-5)


def sequences(with_types=()):
    rng = np.random.default_rng(0)
    return [
        SequenceWork(
            rng.integers(0, 100, length).astype(np.int32),
            Want.HIDDEN,
            rng.integers(0, 2, length).astype(np.int32) if number in with_types else None,
        )
        for number, length in enumerate(LENGTHS)
    ]


@pytest.mark.parametrize("with_types", [(0, 2), (1,), (3,), (0, 1, 2, 3)])
def test_texts_with_token_types_and_without_are_computed_together(load, tmp_path, with_types):
    check_each_alone(load(), tmp_path, sequences(with_types))


def test_no_token_of_a_decoder_sees_a_later_one_or_another_text(load, tmp_path):
    runner = load(is_decoder=True)
    batch = sequences()
    check_each_alone(runner, tmp_path, batch)
    longest = batch[1]
    half = SequenceWork(longest.input_ids[:8], Want.HIDDEN)
    (part,) = runner.run([half], 1)
    whole = runner.run(batch, 1)[1]
    np.testing.assert_allclose(part["last_hidden_state"], whole["last_hidden_state"][:8], atol=2e-5)


def test_raw_tensors_of_a_half_precision_model_come_back_as_float32(load, tmp_path):
    runner = load(dtype="bfloat16")
    ids = np.array([[1, 2, 3]])
    (result,) = runner.run([TensorWork({"input_ids": ids}, 3)], 1)
    assert {array.dtype.name for array in result.values()} == {"float32"}
    model = BertModel.from_pretrained(tmp_path, torch_dtype="bfloat16")
    with torch.no_grad():
        wanted = model(torch.tensor(ids)).last_hidden_state.float()
    np.testing.assert_array_equal(result["last_hidden_state"], wanted)


def test_a_gpu_that_is_not_there_is_refused_and_not_chosen(load, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceMissing, match="device is 'cuda:0', .* accepted: cpu"):
        load(device="cuda:0")
    assert load(device="auto").facts.device == "cpu"


def test_a_gpu_that_is_there_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert _device("auto") == torch.device("cuda:0")
    assert _device("cuda:1") == torch.device("cuda:1")
    assert _device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("lengths", "rows"), [((3,), 8), ((8,), 8), ((9,), 16), ((3, 17, 1, 6), 32), ((16, 8), 24)]
)
def test_the_model_computes_a_multiple_of_eight_rows(load, lengths, rows):
    runner, seen = load(), []
    runner._model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append({n: len(inputs[n]) for n in IDS}), with_kwargs=True
    )
    batch = [
        SequenceWork(np.zeros(n, np.int32), Want.HIDDEN, np.zeros(n, np.int32)) for n in lengths
    ]
    results = runner.run(batch, 1)
    assert seen == [dict.fromkeys(IDS, rows)]
    assert [len(result["last_hidden_state"]) for result in results] == list(lengths)
