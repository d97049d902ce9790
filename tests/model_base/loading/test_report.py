"""What a load says in the log."""

import logging

import pytest

from model_base.loading.report import LoadReport


def said(report: LoadReport, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    with caplog.at_level(logging.INFO, "model_base.loading"):
        report.log("BertModel", "the file")
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_all_is_well_at_info(caplog: pytest.LogCaptureFixture) -> None:
    assert said(LoadReport(), caplog) == [
        ("INFO", "all weights of BertModel were loaded from the file")
    ]


def test_each_thing_amiss_is_a_warning_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    report = LoadReport(["a.weight"], ["b.weight"], [("c", (1,), (2,)), ("d", (3,), (4,))])
    levels, lines = zip(*said(report, caplog), strict=True)
    assert set(levels) == {"WARNING"}
    assert "b.weight" in lines[0]
    assert "not used when initializing BertModel" in lines[0]
    assert "a.weight" in lines[1]
    assert "TRAIN this model" in lines[1]
    assert "stored (1,), wanted (2,)" in lines[2]
    assert len(lines) == 4


def test_it_is_the_mapping_that_callers_know() -> None:
    report = LoadReport(["a"], ["b"], [("c", (1,), (2,))])
    assert report.as_dict() == {
        "missing_keys": ["a"],
        "unexpected_keys": ["b"],
        "mismatched_keys": [("c", (1,), (2,))],
        "error_msgs": [],
    }
