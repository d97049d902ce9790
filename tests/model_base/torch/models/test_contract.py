"""What every architecture does: one suite over all classes that configurations name."""

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import model_base
from model_base.configs import CONFIGS
from model_base.torch.layouts import PackedLayout, PaddedLayout
from tests.model_base.torch import paged
from tests.model_base.torch.models.small import SMALL

CLASSES = list(
    dict.fromkeys((config, name) for config in CONFIGS for name in config.heads.values())
)
CAUSAL = ("ForCausalLM", "LMHeadModel")


def test_every_architecture_is_here() -> None:
    assert set(SMALL) == set(CONFIGS)


@pytest.fixture(params=CLASSES, ids=lambda pair: pair[1])
def case(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A class and a small configuration for it."""
    config_class, name = request.param
    fields: dict[str, Any] = {}
    if name.endswith(CAUSAL):  # some are encoders, too
        fields["is_decoder"] = True
    if name.endswith("ForQuestionAnswering"):
        fields["num_labels"] = 2
    return getattr(model_base, name), SMALL[config_class](**fields)


@pytest.fixture
def draws(case: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Counter[nn.Module]:
    """How often each module is initialised, from now on."""
    counts: Counter[nn.Module] = Counter()
    owner = next(c for c in case[0].__mro__ if "_init_weights" in vars(c))
    initialise = owner._init_weights

    def counted(self: Any, module: nn.Module) -> None:
        counts[module] += 1
        initialise(self, module)

    monkeypatch.setattr(owner, "_init_weights", counted)
    return counts


@pytest.fixture
def model(case: tuple[Any, Any]) -> Any:
    """A model in eval mode whose weights are all random, biases and norms included."""
    made = case[0](case[1]).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def inputs_of(model: Any, batch: int = 2, length: int = 7) -> dict[str, Tensor]:
    """Random arguments of a forward."""
    inputs: dict[str, Tensor] = model.example_inputs(batch, length)
    for name, limit in model.id_limits.items():
        if name in inputs and name.endswith("input_ids"):
            inputs[name] = torch.randint(3, limit, inputs[name].shape)
            if isinstance(end := model.config.eos_token_id, int) and end < limit:
                inputs[name][..., -1] = end
    return {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in inputs.items()
    }


def tensors_of(output: Any) -> dict[str, Tensor]:
    return {name: value for name, value in output.items() if isinstance(value, Tensor)}


def names_of(output: Any) -> set[str]:
    """Names of all entries, those within entries included."""
    inner = {name: names_of(value) for name, value in output.items() if hasattr(value, "names")}
    return {*output, *(f"{name}.{each}" for name, names in inner.items() for each in names)}


def forward(model: Any, inputs: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
    with torch.no_grad():
        return tensors_of(model(**inputs, **options))


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor], limit: float = 0.0) -> None:
    assert list(left) == list(right)
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=limit, atol=limit)


def assert_same(model: Any, again: Any) -> None:
    """Equal weights; outputs are rounded by where a weight lies in memory."""
    assert_equal(model.state_dict(), again.state_dict())
    inputs = inputs_of(model)
    assert_equal(forward(model, inputs), forward(again, inputs), 1e-6)


def test_a_module_is_initialised_with_its_trunk_and_with_its_head_and_no_more(
    case: tuple[Any, Any], draws: Counter[nn.Module]
) -> None:
    model = case[0](case[1])
    owners = {name: m for name, m in model.named_modules() if m._parameters}
    assert not {name: draws[m] for name, m in owners.items() if not 1 <= draws[m] <= 2}


@pytest.mark.parametrize("safe", [True, False])
def test_a_saved_model_comes_back_equal(model: Any, tmp_path: Path, safe: bool) -> None:
    model.save_pretrained(tmp_path, safe_serialization=safe)
    again, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert not any(tensor.is_meta for tensor in (*again.parameters(), *again.buffers()))
    assert_same(model, again)
    assert again.config.to_dict() == model.config.to_dict()


def test_shards_come_back_equal(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = type(model).from_pretrained(tmp_path)
    assert_same(model, again)


def test_a_trunk_is_loaded_of_a_head_and_a_head_of_a_trunk(model: Any, tmp_path: Path) -> None:
    trunk_class = getattr(model_base, type(model.config).heads["AutoModel"])
    model.save_pretrained(tmp_path / "head")
    trunk, info = trunk_class.from_pretrained(tmp_path / "head", output_loading_info=True)
    assert not set(info["missing_keys"]) & set(model.base_model.state_dict())
    stored = {id(p) for p in trunk.parameters()}
    assert stored
    trunk.save_pretrained(tmp_path / "trunk")
    again, info = type(model).from_pretrained(tmp_path / "trunk", output_loading_info=True)
    own, first = again.base_model.state_dict(), model.base_model.state_dict()
    kept = [name for name in own if not any(name in m or m in name for m in info["missing_keys"])]
    assert kept
    for name in kept:
        torch.testing.assert_close(own[name], first[name], rtol=0, atol=0)


def test_outputs_are_equal_as_mapping_and_as_tuple(model: Any) -> None:
    inputs = inputs_of(model)
    with torch.no_grad():
        output = model(**inputs)
        plain = model(**inputs, return_dict=False)
    assert isinstance(plain, tuple)
    assert len(plain) == len(output.to_tuple())
    torch.testing.assert_close(plain[0], output[0])


def test_hidden_states_and_attentions_come_if_asked_for(model: Any) -> None:
    names = inspect.signature(model.forward).parameters
    asked = {n: True for n in ("output_attentions", "output_hidden_states") if n in names}
    inputs = inputs_of(model)
    with torch.no_grad():
        plain, full = model(**inputs), model(**inputs, **asked)
    assert names_of(plain) < names_of(full)
    torch.testing.assert_close(full[0], plain[0], rtol=1e-4, atol=1e-5)


def test_tied_weights_are_one_parameter(model: Any) -> None:
    head = model.get_output_embeddings()
    if head is None or not model.config.tie_word_embeddings:
        pytest.skip("nothing is tied")
    assert head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("change", [5, -5])
def test_tokens_are_added_and_taken_away(model: Any, change: int) -> None:
    inputs = inputs_of(model)
    if "input_ids" not in inputs:
        pytest.skip("reads no tokens")
    rows = model.get_input_embeddings().num_embeddings
    inputs = {n: v % (rows - 5) if n.endswith("input_ids") else v for n, v in inputs.items()}
    before = forward(model, inputs)
    assert model.resize_token_embeddings(rows + change).num_embeddings == rows + change
    after = forward(model, inputs)
    for name, value in before.items():
        seen = after[name]
        if seen.shape != value.shape:
            assert seen.shape[-1] == rows + change
            seen, value = seen[..., : rows - 5], value[..., : rows - 5]
        torch.testing.assert_close(seen, value, rtol=1e-4, atol=1e-5)


def test_pruned_heads_stay_pruned(model: Any, tmp_path: Path) -> None:
    if not hasattr(model.base_model, "_prune_heads"):
        with pytest.raises(NotImplementedError):
            model.prune_heads({0: [0]})
        return
    count = model.num_parameters()
    model.prune_heads({0: [0], 1: [1, 2]})
    model.prune_heads({0: [0, 3]})
    assert model.num_parameters() < count
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert_same(model, again)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_float32(model: Any, tmp_path: Path, dtype: torch.dtype) -> None:
    model.save_pretrained(tmp_path)
    half = type(model).from_pretrained(tmp_path, torch_dtype=dtype)
    assert {p.dtype for p in half.parameters()} == {dtype}
    inputs = inputs_of(model)
    narrow = {n: v.to(dtype) if v.is_floating_point() else v for n, v in inputs.items()}
    for name, value in forward(half, narrow).items():
        wanted = forward(model, inputs)[name]
        assert value.dtype == dtype
        difference = (value.float() - wanted).abs().mean() / wanted.abs().mean().clamp(min=1e-3)
        assert difference < 0.05, name


def test_counts_are_those_of_the_parameters(model: Any) -> None:
    own = {id(p): p.numel() for p in model.parameters()}
    assert model.num_parameters() == sum(own.values())
    next(model.parameters()).requires_grad_(False)
    assert model.num_parameters(only_trainable=True) < model.num_parameters()
    assert model.num_parameters(exclude_embeddings=True) <= model.num_parameters()


def test_a_forward_costs_more_for_more_sequences(model: Any) -> None:
    one, two = model.forward_flops(1, 8), model.forward_flops(2, 8)
    assert 0 < one < two


def counting_saved(model: Any, inputs: dict[str, Tensor]) -> tuple[Any, int]:
    """A forward's output, and how many tensors it keeps for the backward pass."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        return model(**inputs), len(kept)


def test_recomputing_gives_the_same_gradients(model: Any) -> None:
    if not model.supports_gradient_checkpointing:
        pytest.skip("does not recompute")
    inputs = inputs_of(model)
    gradients, saved = [], []
    for recompute in (False, True):
        if recompute:
            model.gradient_checkpointing_enable()
        assert model.is_gradient_checkpointing is recompute
        model.train().zero_grad()
        torch.manual_seed(1)  # the same is dropped
        output, count = counting_saved(model, inputs)
        first = next(v for v in output.values() if isinstance(v, Tensor) and v.requires_grad)
        first.float().square().mean().backward()
        saved.append(count)
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert saved[1] < saved[0]
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5)


def test_padding_changes_nothing(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if "attention_mask" not in inspect.signature(model.forward).parameters:
        pytest.skip("takes no mask")
    inputs = inputs_of(model, 1, 7)
    main = model.main_input_name
    if main != "input_ids" or inputs[main].dim() != 2:
        pytest.skip("reads no tokens")
    pad = model.config.pad_token_id or 0
    longer = {**inputs, main: torch.nn.functional.pad(inputs[main], (0, 3), value=pad)}
    mask = torch.tensor([[1] * 7 + [0] * 3])
    at_end, last_tokens = [], PaddedLayout.last_tokens
    monkeypatch.setattr(PaddedLayout, "last_tokens",
                        lambda *given: at_end.append(1) or last_tokens(*given))  # fmt: skip
    short, long = forward(model, inputs), forward(model, longer, attention_mask=mask)
    if at_end:
        pytest.skip("reads the last column, padding or not")
    for name, value in short.items():
        seen = long[name]
        if seen.shape != value.shape:
            seen = seen[:, : value.shape[1]]
        torch.testing.assert_close(seen, value, rtol=1e-4, atol=1e-5)


def test_packed_sequences_give_what_each_gives_alone(model: Any) -> None:
    names = inspect.signature(model.forward).parameters
    if "layout" not in names or model.example_inputs(1, 1)["input_ids"].dim() != 2:
        pytest.skip("has no packed layout")
    lengths, own_lengths = [5, 1, 9], [4, 6, 2]
    alone = [inputs_of(model, 1, length) for length in lengths]
    options: dict[str, Any] = {}
    if "decoder_layout" in names:
        for inputs, length in zip(alone, own_lengths, strict=True):
            inputs["decoder_input_ids"] = torch.randint(3, 61, (1, length))
        options["decoder_layout"] = PackedLayout(own_lengths, causal=True)
    packed = {name: torch.cat([inputs[name][0] for inputs in alone]) for name in alone[0]}
    causal = model.is_causal and "decoder_layout" not in names
    out = model(**packed, layout=PackedLayout(lengths, causal=causal), **options)
    each = [forward(model, inputs) for inputs in alone]
    for name, value in tensors_of(out).items():
        is_row = name in out.per_sequence
        wanted = torch.cat([one[name] if is_row else one[name][0] for one in each])
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)


def test_a_cache_gives_what_the_whole_sequence_gives(model: Any) -> None:
    names = inspect.signature(model.forward).parameters
    if "past_key_values" not in names or not getattr(model.config, "use_cache", False):
        pytest.skip("has no cache")
    inputs = inputs_of(model, 2, 9)
    name = "decoder_input_ids" if "decoder_input_ids" in inputs else model.main_input_name
    with torch.no_grad():
        whole = model(**inputs)
        first = model(**{**inputs, name: inputs[name][:, :4]}, use_cache=True)
        if "past_key_values" not in first:
            pytest.skip("keeps no cache")
        rest = model(**{**inputs, name: inputs[name][:, 4:]}, past_key_values=first.past_key_values)
    if whole[0].shape[1] != 9:
        torch.testing.assert_close(rest[0], whole[0], rtol=1e-4, atol=1e-5)
        return
    torch.testing.assert_close(torch.cat([first[0], rest[0]], 1), whole[0], rtol=1e-4, atol=1e-5)


def test_a_decoder_over_scattered_blocks_gives_the_dense_result(model: Any) -> None:
    names = inspect.signature(model.forward).parameters
    if not (model.is_causal and "layout" in names) or "decoder_layout" in names:
        pytest.skip("is no decoder")
    sequences = [torch.randint(3, 61, (length,)) for length in paged.LENGTHS]
    with torch.no_grad():
        dense = [model(ids[None]) for ids in sequences]
        if next(iter(tensors_of(dense[0]))) in dense[0].per_sequence:
            pytest.skip("has one result a sequence")
        scattered = paged.decode(model, sequences)
    for one, wanted in zip(scattered, dense, strict=True):
        torch.testing.assert_close(one, wanted[0][0], rtol=1e-4, atol=1e-5)
