import asyncio
import io
import socket
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from service.core.messages import ModelEvent, ModelFacts, ModelSpec, ModelState
from service.server import CannotListen, Console, _example, listen

S = ModelState


def test_port_0_gives_a_free_one_that_can_be_asked_for() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_ipv6_is_listened_on_where_there_is_any() -> None:
    try:
        listener = listen("::1", 0)
    except CannotListen:
        pytest.skip("this machine has no IPv6 loopback")
    with listener:
        assert listener.family is socket.AF_INET6


def test_a_port_that_is_taken_asks_for_another() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"127\.0\.0\.1:{port} .*another with --port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "not a host"])
def test_an_address_that_is_not_ours_asks_for_one_that_is(host: str) -> None:
    with pytest.raises(CannotListen, match="give an address of this machine with --host"):
        listen(host, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(events: list[ModelEvent], left: list[bool]) -> Console:
    async def stream() -> AsyncIterator[ModelEvent]:
        for event in events:
            yield event

    info = SimpleNamespace(facts=SimpleNamespace(pooling="mean"))
    service: Any = SimpleNamespace(
        dataplane=SimpleNamespace(events=stream, model=lambda name: info)
    )
    console = Console(service, "http://127.0.0.1:1", [ModelSpec("m", "/m")])
    asyncio.run(console.watch(lambda: left.append(True)))
    return console


def event(state: ModelState, done: int = 0, total: int = 0, **fields: Any) -> ModelEvent:
    return ModelEvent(fields.pop("name", "m"), "1", state, done, total, **fields)


LIFE = [
    event(S.QUEUED), event(S.DOWNLOADING), event(S.LOADING), event(S.LOADING, 0, 100),
    event(S.LOADING, 50, 100), event(S.LOADING, 100, 100), event(S.WARMING), event(S.READY),
]  # fmt: skip


def test_away_from_a_terminal_each_step_is_one_plain_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not watch(LIFE, []).failed
    lines = capsys.readouterr().err.splitlines()
    assert lines[:5] == [
        "listening on http://127.0.0.1:1",
        "m: downloading",
        "m: loading",
        "m: warming up",
        "m: ready on http://127.0.0.1:1 (docs: http://127.0.0.1:1/docs)",
    ]
    assert lines[6].startswith("  curl http://127.0.0.1:1/models/m/predict")
    assert "\r" not in "".join(lines)


@pytest.mark.parametrize(
    ("pooling", "inputs", "body"),
    [
        ("mean", ("input_ids",), '{"inputs": "Hello, world!"}'),
        (None, ("input_ids", "decoder_input_ids"),
         '{"inputs": {"input_ids": [[1, 2]], "decoder_input_ids": [[1, 2]]}}'),
        (None, ("pixel_values",), ""),
        (None, ("input_ids", "pixel_values"), ""),
    ],
)  # fmt: skip
def test_the_line_to_paste_is_one_that_the_model_answers(
    pooling: str | None, inputs: tuple[str, ...], body: str
) -> None:
    facts = ModelFacts("M", "torch", "float32", "cpu", "x", 1, 4, 64, pooling, inputs)
    assert _example(facts) == body


def test_on_a_terminal_bytes_are_a_bar_that_is_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    watch(LIFE, [])
    text = terminal.getvalue()
    assert "m: 0" in text.replace("m:  ", "m: ")
    assert text.rindex("\r") < text.index("m: warming up")


def test_a_bar_is_wiped_when_the_service_leaves_while_it_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    watch(LIFE[:4], [])
    assert terminal.getvalue().endswith("\r")


def test_a_model_of_the_command_line_that_fails_ends_the_service(
    capsys: pytest.CaptureFixture[str],
) -> None:
    left: list[bool] = []
    assert watch([event(S.FAILED, reason="no weights"), event(S.READY)], left).failed
    assert left == [True]
    assert "m: failed: no weights" in capsys.readouterr().err


def test_a_model_loaded_later_that_fails_does_not() -> None:
    left: list[bool] = []
    failed = event(S.FAILED, name="other", reason="no weights")
    again = event(S.FAILED, reason="gone")
    assert not watch([failed, event(S.READY), again], left).failed
    assert left == []


def test_a_worker_that_is_restarted_is_told_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch([*LIFE, event(S.LOADING, reason="the worker ended")], [])
    assert "m: loading (the worker ended)" in capsys.readouterr().err
