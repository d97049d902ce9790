from itertools import accumulate, chain, cycle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from service.worker.runners import linear
from service.worker.runners.linear import PrepackedLinear, speed_up_linears


class Tied(nn.Module):
    """An embedding, a head tied to it, a layer worth repacking and one too small for it."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(96, 64)
        self.head = nn.Linear(64, 96, bias=False)
        self.head.weight = self.embedding.weight
        self.wide = nn.Linear(64, 128)
        self.small = nn.Linear(64, 2)


@pytest.fixture
def pays(monkeypatch):
    """A processor on which prepacking pays, whatever this one says."""
    monkeypatch.setattr(linear, "_gain", lambda layer, num_rows: 2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_repacked_layer_computes_what_the_layer_did(dtype, rows):
    torch.manual_seed(0)
    layer = nn.Linear(64, 128).to(dtype)
    x = torch.randn(rows, 64, dtype=dtype)
    with torch.inference_mode():
        wanted, got = layer(x), PrepackedLinear(layer, 128)(x)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=tolerance)


def test_tied_and_small_layers_are_left_alone(pays):
    model = Tied()
    speed_up_linears(model, 128)
    assert isinstance(model.wide, PrepackedLinear)
    assert type(model.head) is nn.Linear
    assert type(model.small) is nn.Linear


def test_nothing_is_replaced_where_it_does_not_pay(monkeypatch):
    monkeypatch.setattr(linear, "_gain", lambda layer, num_rows: 1.0)
    model = Tied()
    speed_up_linears(model, 128)
    assert type(model.wide) is nn.Linear


def test_a_float64_model_is_left_alone(pays):
    model = Tied().double()
    speed_up_linears(model, 128)
    assert type(model.wide) is nn.Linear


@pytest.mark.parametrize(("plain_s", "packed_s", "gain"), [(3, 2, 1.5), (2, 4, 0.5)])
def test_the_gain_is_how_many_times_faster_the_best_of_several_trials_is(
    monkeypatch, plain_s, packed_s, gain
):
    trials = chain((0, plain_s, 0, 90), (0, 90, 0, packed_s), cycle((0, 90)))
    steps = accumulate(trials)
    clock = SimpleNamespace(perf_counter=lambda: float(next(steps)))
    monkeypatch.setattr(linear, "time", clock)
    assert linear._gain(nn.Linear(64, 128), 8) == gain
