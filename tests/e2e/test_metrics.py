"""What Prometheus reads, checked by its own tools where they are installed."""

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

Until = Callable[..., Any]


@pytest.fixture(scope="module")
def used(shared: Any) -> Any:
    """A server that has seen requests of every protocol, good and bad."""
    shared.embed(["a", "b"])
    shared.post("/v1/embeddings", {"model": "tiny", "input": "c"})
    shared.post("/models/tiny/predict", {"inputs": "d"})
    shared.post("/models/nowhere/predict", {"inputs": "e"})
    shared.post("/embed", {"inputs": 5})
    return shared


def tool(name: str) -> str:
    if (path := shutil.which(name)) is None:
        pytest.skip(f"{name} is not installed (Debian: apt install prometheus)")
    return path


def test_every_metric_is_there_and_of_its_kind(used: Any) -> None:
    text = used.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    ours = {name: f.type for name, f in families.items() if name.startswith("model_base_")}
    counters = {"requests", "tokens", "worker_restarts", "hub_bytes", "hub_failures"}
    gauges = {
        "queued_requests", "queued_tokens", "model_state", "model_memory_bytes",
        "worker_resident_memory_bytes", "hub_jobs",
    }  # fmt: skip
    histograms = {
        "request_seconds", "tokenize_seconds", "queue_seconds", "forward_seconds", "batch_size",
        "batch_tokens", "model_load_seconds", "hub_job_seconds",
    }  # fmt: skip
    expected = dict.fromkeys(counters, "counter")
    expected |= dict.fromkeys(gauges, "gauge") | dict.fromkeys(histograms, "histogram")
    assert ours == {f"model_base_{name}": kind for name, kind in expected.items()}
    assert {"process_resident_memory_bytes", "python_gc_objects_collected"} <= set(families)


def test_requests_are_counted_by_protocol_model_and_code(used: Any) -> None:
    def count(protocol: str, model: str, code: int) -> float:
        value: float = used.metric("requests_total", protocol=protocol, model=model, code=str(code))
        return value

    assert count("tei", "tiny", 200) == 1
    assert count("openai", "tiny", 200) == 1
    assert count("native", "tiny", 200) == 1
    assert count("native", "unknown", 404) == 1
    assert count("tei", "tiny", 422) + count("tei", "unknown", 422) == 1
    assert used.metric("batch_size_sum", model="tiny") == 4
    assert used.metric("forward_seconds_count", model="tiny") >= 3


def test_latencies_reach_from_1_ms_to_480_s(used: Any) -> None:
    for family in text_string_to_metric_families(used.get("/metrics").text):
        if family.name.endswith("_seconds") and family.name.startswith("model_base"):
            bounds = {float(s.labels["le"]) for s in family.samples if "le" in s.labels}
            assert {0.001, 480.0, float("inf")} <= bounds


def test_promtool_finds_nothing_to_complain_about(used: Any) -> None:
    promtool = tool("promtool")
    text = used.get("/metrics").text
    ours = "".join(
        line + "\n"
        for line in text.splitlines()
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("model_base_")
    )
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=ours, capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.fixture
def prometheus(used: Any, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes the service every fifth of a second."""
    program = tool("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = used.address.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "e2e", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    process = subprocess.Popen(
        [
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.mark.slow
def test_a_real_prometheus_scrapes_the_service(prometheus: str, wait_until: Until) -> None:
    def query(text: str) -> list[Any]:
        try:
            answer = httpx.get(
                prometheus + "/api/v1/query", params={"query": text}, trust_env=False
            )
        except httpx.TransportError:
            return []
        rows: list[Any] = answer.json()["data"]["result"] if answer.status_code == 200 else []
        return rows

    (up,) = wait_until(lambda: query('up{job="e2e"} == 1'), "a scrape")
    assert up["value"][1] == "1"
    (row,) = query('model_base_model_state{model="tiny", state="ready"}')
    assert row["value"][1] == "1"
    (row,) = query('sum(model_base_requests_total{protocol="tei", code="200"})')
    assert float(row["value"][1]) >= 1
    text = "histogram_quantile(0.99, sum by (le) (model_base_request_seconds_bucket))"
    assert 0 < float(query(text)[0]["value"][1]) < 480
