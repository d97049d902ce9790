"""What the conformance gate lets pass, and what it does not."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import conformance_gate as gate
from tests.conformance_gate import Failure

NAMES = ("pt_a", "sp_b", "sp_c")


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "EXPECTED", ("pt_*", "sp_*"))
    monkeypatch.setattr(gate, "EXCUSED", {("pt_*", "generate*"): "not written yet"})


@pytest.mark.parametrize(
    ("passed", "failures", "status", "text"),
    [
        (5, [Failure("pt_a", "generate.beam", "x")], 0, "excused: 1 checks, not written yet"),
        (5, [], 1, "REMOVE from EXCUSED"),
        (0, [Failure("pt_a", "generate.beam", "x")], 1, "0 checks passed"),
        (5, [Failure("pt_a", "generate", ""), Failure("pt_a", "masks", "wrong")], 1,
         "FAILED pt_a :: masks: wrong"),
        (5, [Failure("sp_b", "generate", "")], 1, "FAILED sp_b :: generate"),
    ],
    ids=["excused", "unused", "nothing", "open", "other"],
)  # fmt: skip
def test_only_what_is_excused_passes(
    capsys: pytest.CaptureFixture[str],
    passed: int,
    failures: list[Failure],
    status: int,
    text: str,
) -> None:
    assert gate.report(passed, failures) == status
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("results", "passed", "checks"),
    [
        ([("a", True, ""), ("b", "n/a", "")], 1, []),
        ([("a", True, ""), ("b", "skip", "flax is not installed")], 1, []),
        ([("a", True, ""), ("b", "skip", "torch is not installed")], 1, ["b"]),
        ([("a", True, ""), ("b", False, "wrong")], 1, ["b"]),
        ([("a", "n/a", "")], 0, ["EXPECTED"]),
        ([("a", "skip", "tf is not installed")], 0, ["EXPECTED"]),
        ([], 0, ["EXPECTED"]),
    ],
)
def test_a_skip_that_nobody_foresaw_and_a_fixture_without_a_pass_are_failures(
    results: list[gate.Result], passed: int, checks: list[str]
) -> None:
    count, failures = gate.judge("pt_a", results)
    assert (count, [failure.check for failure in failures]) == (passed, checks)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the gate over a tool that measures ``fixtures`` and ends with ``status``."""

    def start(fixtures: dict[str, list[gate.Result]], status: int = 1) -> int:
        entries = [{"name": name, "architecture": "BertModel"} for name in NAMES]
        for folder, file, text in (
            ("fixtures", "manifest.json", json.dumps({"fixtures": entries, "tokenizers": []})),
            ("conformance", "run.py", TOOL.format(fixtures=fixtures, status=status)),
        ):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / file).write_text(text)
        monkeypatch.setattr(sys, "argv", ["gate", "--shared", str(tmp_path)])
        return gate.main()

    return start


TOOL = """
import fnmatch, json, sys
fixtures = {fixtures!r}
asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))
names = fnmatch.filter(fixtures, asked["--only"])
measured = {{name: {{"results": fixtures[name]}} for name in names}}
if fixtures:
    json.dump({{"fixtures": measured}}, open(asked["--json"], "w"))
sys.exit({status})
"""
GOOD: list[gate.Result] = [("load", True, ""), ("generate", False, "")]


@pytest.mark.parametrize("lost", ["sp_b", "sp_c"])
def test_every_expected_fixture_must_be_measured(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    assert run({name: GOOD for name in NAMES if name != lost}) == 1
    assert f"FAILED sp_* :: EXPECTED: not measured: ['{lost}']" in capsys.readouterr().out


def test_a_pattern_must_match_a_fixture(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "EXPECTED", ("pt_*", "v9_*"))
    assert run({"pt_a": GOOD}) == 1
    assert "FAILED v9_* :: EXPECTED" in capsys.readouterr().out


def test_the_gate_is_open_when_all_else_passes(run: Callable[..., int]) -> None:
    assert run({"pt_a": GOOD, "sp_b": GOOD[:1], "sp_c": GOOD[:1]}) == 0


@pytest.mark.parametrize(("fixtures", "status"), [({}, 1), ({"pt_a": GOOD}, 2)])
def test_a_tool_that_breaks_is_a_failure(
    run: Callable[..., int], fixtures: dict[str, list[gate.Result]], status: int
) -> None:
    with pytest.raises(SystemExit, match="ended early"):
        run(fixtures, status)
