"""A hub that is overloaded, restarts, or cuts connections, for a while."""

from typing import Any

import pytest

from model_base import HubUnavailable
from model_base.hub.files import model_files
from tests.hub.standin import Hub

NAME = "owner/model"
CONTENT = bytes(range(256)) * 4096 * 3


@pytest.fixture
def repository(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("time.sleep", lambda _: None)  # ours, and huggingface_hub's
    return hub.add(NAME, {"config.json": b"{}", "model.safetensors": CONTENT})


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_passing_failure_costs_time_only(
    name: str, method: str, status: int, hub: Hub, repository: Any
) -> None:
    hub.failures = {method: [status, status]}
    path = model_files(NAME).find(name)
    assert path is not None
    assert path.read_bytes() == repository.head.files[name]
    assert hub.failures[method] == []


def test_a_connection_that_is_cut_is_taken_up_where_it_was(hub: Hub, repository: Any) -> None:
    hub.cut_after = 2_500_000
    hub.go_on.set()  # what is asked for again is sent
    path = model_files(NAME).find("model.safetensors")
    assert path is not None
    assert path.read_bytes() == CONTENT
    whole = 2 * 2**20  # chunks that had come
    assert [sent[1:] for sent in hub.sent] == [(0, 2_500_000), (whole, len(CONTENT) - whole)]


def test_a_failure_that_does_not_pass_is_told(hub: Hub, repository: Any) -> None:
    hub.failures = {"GET": [500] * 99}
    with pytest.raises(HubUnavailable, match="cannot get config.json"):
        model_files(NAME).find("config.json")
    assert len(hub.failures["GET"]) == 99 - 4


def test_a_refusal_is_told_at_once(hub: Hub, repository: Any) -> None:
    hub.failures = {"GET": [403] * 9}
    with pytest.raises(HubUnavailable, match="refused the token"):
        model_files(NAME).find("config.json")
    assert len(hub.failures["GET"]) == 8
