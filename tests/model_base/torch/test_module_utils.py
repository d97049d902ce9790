"""ModuleUtilsMixin: counts, operations, masks, memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from model_base import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertModel,
    ModuleUtilsMixin,
    ViTModel,
    Wav2Vec2Model,
    get_parameter_device,
    get_parameter_dtype,
)
from tests.model_base.torch.models.small import SMALL

Small = Callable[..., BertConfig]
# By hand, for the small configuration: V=61, H=32, L=2 layers, I=48, P=40 positions, 2 types.
EMBEDDINGS = (61 + 40 + 2) * 32
LAYER = 4 * (32 * 32 + 32) + (32 * 48 + 48) + (48 * 32 + 32) + 2 * 2 * 32
NORM, POOLER = 2 * 32, 32 * 32 + 32


def test_parameters_are_counted(small: Small) -> None:
    model = BertModel(small())
    everything = EMBEDDINGS + NORM + 2 * LAYER + POOLER
    assert model.num_parameters() == everything
    assert model.num_parameters(exclude_embeddings=True) == everything - EMBEDDINGS
    model.pooler.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == everything - POOLER
    model.embeddings.requires_grad_(False)
    without = model.num_parameters(only_trainable=True, exclude_embeddings=True)
    assert without == 2 * LAYER


def test_a_tied_head_counts_once_and_as_an_embedding(small: Small) -> None:
    tied, untied = BertForMaskedLM(small()), BertForMaskedLM(small(tie_word_embeddings=False))
    assert untied.num_parameters() - tied.num_parameters() == 61 * 32
    head = 32 * 32 + 32 + NORM + 61
    assert tied.num_parameters(exclude_embeddings=True) == NORM + 2 * LAYER + head


def test_operations_are_six_a_parameter_and_token(small: Small) -> None:
    model = BertModel(small())
    inputs = {"input_ids": torch.ones(3, 5, dtype=torch.long)}
    assert model.estimate_tokens(inputs) == 15
    without = model.num_parameters(exclude_embeddings=True)
    assert model.floating_point_ops(inputs) == 6 * 15 * without
    everything = model.num_parameters()
    assert model.floating_point_ops(inputs, exclude_embeddings=False) == 6 * 15 * everything


def test_long_sequences_are_counted_with_attention_s_square(small: Small) -> None:
    model, length = BertModel(small()), 32  # the hidden size
    inputs = {"input_ids": torch.ones(2, length, dtype=torch.long)}
    exact = 3 * model.forward_flops(2, length)
    assert model.floating_point_ops(inputs) == exact
    tables = model.num_parameters() - model.num_parameters(exclude_embeddings=True)
    assert model.floating_point_ops(inputs, exclude_embeddings=False) == exact + 6 * 64 * tables
    shorter = {"input_ids": inputs["input_ids"][:, 1:]}
    without = model.num_parameters(exclude_embeddings=True)
    assert model.floating_point_ops(shorter) == 6 * 62 * without


@pytest.mark.parametrize(
    ("model_class", "name", "inputs"),
    [
        (Wav2Vec2Model, "input_values", torch.zeros(2, 400)),
        (ViTModel, "pixel_values", torch.zeros(1, 3, 12, 12)),
        (BertForMultipleChoice, "input_ids", torch.ones(1, 32, 32, dtype=torch.long)),
    ],
)
def test_what_is_not_a_text_is_counted_by_its_values(
    model_class: Any, name: str, inputs: torch.Tensor
) -> None:
    model = model_class(SMALL[model_class.config_class]())
    expected = 6 * inputs.numel() * model.num_parameters(exclude_embeddings=True)
    assert model.floating_point_ops({name: inputs}) == expected


def test_without_the_main_input_nothing_is_counted() -> None:
    for model in (AlbertModel(SMALL[AlbertConfig]()), BertModel(SMALL[BertConfig]())):
        assert model.floating_point_ops({}) == 0


def test_inputs_that_cannot_be_counted_are_warned_of_once(
    small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    model = BertModel(small())
    assert [model.estimate_tokens({"pixels": 1}) for _ in range(3)] == [0, 0, 0]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (2, 7), (3, 32)])
def test_a_forward_s_operations_are_those_counted_by_hand(
    batch: int, length: int, small: Small
) -> None:
    tokens = batch * length
    layer = 2 * tokens * (4 * 32 * 32 + 2 * 32 * 48) + 2 * (2 * batch * length * length * 32)
    trunk = 2 * layer + 2 * batch * 32 * 32
    assert BertModel(small()).forward_flops(batch, length) == trunk


def test_counting_operations_changes_nothing(small: Small) -> None:
    model = BertModel(small()).train()
    before = model.state_dict()["pooler.dense.weight"].clone()
    model.forward_flops(1, 4)
    assert model.training
    assert torch.equal(model.pooler.dense.weight, before)
    assert model.device.type == "cpu"


# ---- masks


def test_a_mask_becomes_what_is_added_to_scores(small: Small) -> None:
    mask = BertModel(small()).get_extended_attention_mask(torch.tensor([[1, 1, 0]]), (1, 3))
    assert mask.tolist() == [[[[0, 0, -10000]]]]


def test_a_decoder_s_mask_hides_what_comes_later(small: Small) -> None:
    model = BertModel(small(is_decoder=True))
    mask = model.get_extended_attention_mask(torch.tensor([[0, 1, 1, 1]]), (1, 2))
    assert (mask[0, 0] == 0).tolist() == [[False, True, True, False], [False, True, True, True]]


def test_a_mask_for_each_query_is_taken_as_it_is(small: Small) -> None:
    for decoder in (False, True):
        model = BertModel(small(is_decoder=decoder))
        mask = torch.tensor([[[0, 1], [1, 0]]])
        extended = model.get_extended_attention_mask(mask, (1, 2))
        assert extended.tolist() == [[[[-10000, 0], [0, -10000]]]]


@pytest.mark.parametrize(
    ("dtype", "fill"), [(torch.float32, -1e9), (torch.bfloat16, -1e9), (torch.float16, -1e4)]
)
def test_an_inverted_mask_hides_as_far_as_the_dtype_reaches(
    dtype: torch.dtype, fill: float, small: Small
) -> None:
    model = BertModel(small()).to(dtype)
    for mask, shape in ((torch.ones(2, 3), (2, 1, 1, 3)), (torch.ones(2, 4, 3), (2, 1, 4, 3))):
        assert model.invert_attention_mask(mask).shape == shape
        assert model.invert_attention_mask(mask).abs().sum() == 0
    hidden = model.invert_attention_mask(torch.zeros(1, 1))
    assert hidden.dtype is dtype
    assert hidden.item() == torch.tensor(fill, dtype=dtype).item()


def test_another_rank_or_dtype_is_refused(small: Small) -> None:
    model = BertModel(small())
    with pytest.raises(ValueError, match=r"shape \(2,\) for an input of shape \(1, 2\)"):
        model.get_extended_attention_mask(torch.ones(2), (1, 2))
    with pytest.raises(ValueError, match=r"shape \(1, 2, 3, 4\)"):
        model.invert_attention_mask(torch.ones(1, 2, 3, 4))
    with pytest.raises(ValueError, match="float64 not recognized; accepted: torch.float16"):
        model.double().invert_attention_mask(torch.ones(1, 2))


def test_the_old_device_argument_warns(small: Small) -> None:
    with pytest.warns(FutureWarning, match="device argument"):
        BertModel(small()).get_extended_attention_mask(torch.ones(1, 2), (1, 2), device="cpu")


def test_a_head_mask_is_made_for_each_layer(small: Small) -> None:
    model = BertModel(small()).half()
    assert model.get_head_mask(None, 3) == [None] * 3
    one = model.get_head_mask(torch.tensor([1, 0, 1, 1]), 2)
    assert (one.shape, one.dtype) == ((2, 1, 4, 1, 1), torch.float16)
    assert one[:, 0, :, 0, 0].tolist() == [[1, 0, 1, 1]] * 2
    each = model.get_head_mask(torch.eye(2, 4), 2)
    assert each[:, 0, :, 0, 0].tolist() == torch.eye(2, 4).tolist()
    assert model.get_head_mask(torch.ones(4), 2, is_attention_chunked=True).dim() == 6
    with pytest.raises(ValueError, match=r"head_mask has shape \(1, 2, 4\)"):
        model.get_head_mask(torch.ones(1, 2, 4), 2)


# ---- where and in what the values are


class Replica(nn.Module):
    """As DataParallel makes them: tensors are attributes, there are no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["weight"] = torch.zeros(1, dtype=torch.float16, device="meta")


def test_device_and_dtype_are_those_of_the_first_parameter_or_tensor(small: Small) -> None:
    model = BertModel(small()).to(torch.bfloat16)
    assert (model.device.type, model.dtype) == ("cpu", torch.bfloat16)
    assert get_parameter_device(Replica()).type == "meta"
    assert get_parameter_dtype(Replica()) is torch.float16
    with pytest.raises(ValueError, match="Tanh has no parameters"):
        get_parameter_device(nn.Tanh())


def test_the_mixin_serves_any_module() -> None:
    class Other(nn.Module, ModuleUtilsMixin):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.dense = nn.Embedding(5, 3), nn.Linear(3, 2)

    assert Other().num_parameters() == 15 + 8
    assert Other().num_parameters(exclude_embeddings=True) == 8


# ---- memory


def test_memory_is_noted_around_each_forward_and_added_up(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = iter(range(0, 10**6, 10))
    monkeypatch.setattr("model_base.torch.module_utils._resident_bytes", lambda: next(resident))
    model: Any = BertModel(small()).eval()
    model.add_memory_hooks()
    assert (model.mem_rss_diff, model.mem_rss_pre_forward, model.mem_rss_post_forward) == (0, 0, 0)
    ids = torch.ones(1, 2, dtype=torch.long)
    model(ids)
    first = model.mem_rss_diff
    assert first == model.mem_rss_post_forward - model.mem_rss_pre_forward > 0
    assert model.pooler.dense.mem_rss_diff == 10
    model(ids)
    assert model.mem_rss_diff == 2 * first
    model.reset_memory_hooks_state()
    assert {module.mem_rss_diff for module in model.modules()} == {0}


def test_memory_is_that_of_the_process(small: Small) -> None:
    model: Any = BertModel(small()).eval()
    model.add_memory_hooks()
    model(torch.ones(1, 2, dtype=torch.long))
    assert model.mem_rss_pre_forward > 2**20
