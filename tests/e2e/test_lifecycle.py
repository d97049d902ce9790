"""Models come and go beside traffic; what cannot be loaded is refused, and the service goes on."""

import json
import os
import re
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

Until = Callable[..., Any]


@pytest.fixture
def folder(tiny: Path) -> Iterator[Callable[[str], Path]]:
    """Copies of the tiny model inside the model folder, by name."""
    made = []

    def copy(name: str) -> Path:
        path = tiny.parent / name
        shutil.copytree(tiny, path)
        made.append(path)
        return path

    yield copy
    for path in made:
        shutil.rmtree(path)


def load(server: Any, name: str, source: str, **more: str) -> httpx.Response:
    answer: httpx.Response = server.post("/models", {"name": name, "source": source, **more})
    return answer


@pytest.fixture
def forget(shared: Any) -> Iterator[None]:
    """Delete the models a test leaves."""
    yield
    for row in shared.get("/models").json():
        if row["name"] != "tiny":
            shared.call("DELETE", f"/models/{row['name']}")


pytestmark = pytest.mark.usefixtures("forget")


class Watch:
    """The longest time that the service took to answer a trivial question and a real one."""

    def __init__(self, server: Any) -> None:
        self.longest_s = {"/health/live": 0.0, "/embed": 0.0}
        self.codes: set[int] = set()
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._server.address, trust_env=False, timeout=60) as client:
            while not self._stop.is_set():
                for path in self.longest_s:
                    started = time.monotonic()
                    body = {"inputs": "beside"} if path == "/embed" else None
                    answer = client.request("POST" if body else "GET", path, json=body)
                    taken = time.monotonic() - started
                    self.longest_s[path] = max(self.longest_s[path], taken)
                    self.codes.add(answer.status_code)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def test_a_model_is_loaded_used_unloaded_loaded_again_and_deleted(shared: Any) -> None:
    answer = load(shared, "second", "tiny")
    assert (answer.status_code, answer.headers["Location"]) == (202, "/models/second")
    assert answer.json()["state"] == "queued"
    row = shared.wait_state("second", "ready")
    assert row["num_parameters"] > 0
    predict = "/models/second/predict"
    assert shared.post(predict, {"inputs": "hello"}).json()["task"] == "feature-extraction"
    assert shared.post("/models/second/unload").status_code == 202
    shared.wait_state("second", "unloaded")
    refused = shared.post(predict, {"inputs": "hello"})
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert shared.post("/models/second/load").status_code == 202
    shared.wait_state("second", "ready")
    assert shared.post(predict, {"inputs": "hello"}).status_code == 200
    assert shared.call("DELETE", "/models/second").status_code == 204
    assert shared.get("/models/second").status_code == 404
    assert shared.metric("model_state", model="second") == 0
    assert len(shared.processes()) == 3


def test_loading_and_unloading_does_not_stall_the_others(shared: Any) -> None:
    shared.embed()
    with Watch(shared) as watch:
        for _ in range(3):
            load(shared, "second", "tiny")
            shared.wait_state("second", "ready")
            shared.call("DELETE", "/models/second")
    assert watch.codes == {200}
    assert watch.longest_s["/health/live"] < 0.5
    assert watch.longest_s["/embed"] < 1.0


def test_a_new_version_takes_over_without_a_lost_request(shared: Any) -> None:
    load(shared, "second", "tiny")
    shared.wait_state("second", "ready")
    codes, versions, stop = set(), set(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = shared.post("/models/second/predict", {"inputs": "hello"})
            codes.add(answer.status_code)
            versions.add(answer.json().get("version"))

    thread = threading.Thread(target=ask)
    thread.start()
    for version in ("2", "3"):
        assert load(shared, "second", "tiny", version=version).status_code == 202
        while shared.get("/models/second").json()["version"] != version:
            pass
    stop.set()
    thread.join(60)
    assert codes == {200}
    assert {"1", "2"} <= versions
    states = {r["version"]: r["state"] for r in shared.get("/models").json() if r["name"] != "tiny"}
    assert states["3"] == "ready"


def test_a_model_that_is_there_already_is_a_conflict(shared: Any) -> None:
    answer = load(shared, "tiny", "tiny")
    assert answer.status_code == 409
    assert "give another version" in answer.json()["error"]["message"]
    assert shared.post("/models/tiny/load").status_code == 409


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"source": "../outside"}, "'..'"),
        ({"source": "/etc"}, "is not there"),
        ({"source": "http://localhost/m"}, "URLs"),
        ({"source": "nowhere"}, "is not there"),
        ({"framework": "jax"}, "accepted: auto, torch"),
        ({"dtype": "int8"}, "dtype"),
        ({"device": "tpu"}, "device"),
        ({"name": "a/../b"}, "name"),
        ({"version": "../1"}, "version"),
    ],
)
def test_what_cannot_be_loaded_is_400_at_once(
    shared: Any, more: dict[str, str], words: str
) -> None:
    answer = shared.post("/models", {"name": "second", "source": "tiny"} | more)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert [row["name"] for row in shared.get("/models").json()] == ["tiny"]


def refused(shared: Any, source: Path, tiny: Path) -> str:
    """The reason a model is not loaded; nothing else has changed."""
    assert load(shared, "second", source.name).status_code == 202
    reason = str(shared.wait_state("second", "failed", "ready")["reason"])
    assert shared.state("second") == "failed"
    assert str(tiny.parent) not in reason
    assert shared.embed().status_code == 200
    assert shared.get("/health/ready").status_code == 200
    assert len(shared.processes()) == 3
    return reason


def test_a_truncated_file_is_refused_by_name(
    shared: Any, folder: Callable[[str], Path], tiny: Path
) -> None:
    source = folder("truncated")
    weights = source / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    assert "model.safetensors" in refused(shared, source, tiny)


def test_a_model_that_does_not_fit_is_refused_with_both_numbers(
    shared: Any, folder: Callable[[str], Path], tiny: Path
) -> None:
    source = folder("large")
    num_bytes = 2**43
    header = {"x": {"dtype": "F32", "shape": [2**41], "data_offsets": [0, num_bytes]}}
    text = json.dumps(header).encode()
    weights = source / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(text)) + text)
    try:
        os.truncate(weights, 8 + len(text) + num_bytes)
    except OSError:
        pytest.skip("this file system has no files of 8 TiB, not even empty ones")
    reason = refused(shared, source, tiny)
    numbers = re.fullmatch(r"the model needs (\d+) bytes, (\d+) are free on this machine", reason)
    assert numbers is not None
    assert int(numbers[1]) >= num_bytes > int(numbers[2]) > 0


def test_a_link_out_of_the_model_folders_is_refused(
    shared: Any, folder: Callable[[str], Path]
) -> None:
    source = folder("linked")
    (source / "vocab.txt").unlink()
    (source / "vocab.txt").symlink_to("/etc/passwd")
    answer = load(shared, "second", "linked")
    assert answer.status_code == 400
    assert "'vocab.txt', a link out of the model folders" in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["os_system", "open_legacy", "exec_in_shard2"])
def test_a_hostile_file_is_refused_by_name_and_runs_nothing(
    shared: Any, fixtures: Path, tiny: Path, kind: str, folder: Callable[[str], Path]
) -> None:
    source = folder(f"hostile_{kind}")
    (source / "model.safetensors").unlink()
    shutil.copytree(fixtures / f"sp_malicious_{kind}" / "ckpt", source, dirs_exist_ok=True)
    expected = json.loads((fixtures / f"sp_malicious_{kind}" / "expected.json").read_text())
    assert "pytorch_model" in refused(shared, source, tiny)
    assert not Path(expected["must_not_create"]).exists()


def read_events(stream: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in stream.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def test_the_whole_life_of_a_model_is_told_as_it_happens(shared: Any) -> None:
    with httpx.stream("GET", shared.address + "/models/events", timeout=60) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        events = read_events(stream)
        assert next(events)["state"] == "ready"  # of tiny: the present first
        load(shared, "second", "tiny")
        seen = [next(events)]
        while seen[-1]["state"] != "ready":
            seen.append(next(events))
        shared.post("/models/second/unload")
        while seen[-1]["state"] != "unloaded":
            seen.append(next(events))
    states = [event["state"] for event in seen]
    changes = [s for i, s in enumerate(states) if i == 0 or states[i - 1] != s]
    assert changes == [
        "queued", "loading", "warming", "ready", "draining", "unloaded",
    ]  # fmt: skip
    assert {(event["name"], event["version"]) for event in seen} == {("second", "1")}
    loaded = [event for event in seen if event["state"] == "loading" and event["bytes_total"]]
    assert loaded[-1]["bytes_done"] == loaded[-1]["bytes_total"] > 0


def test_a_failure_is_told_with_its_reason(shared: Any, folder: Callable[[str], Path]) -> None:
    (folder("empty") / "model.safetensors").unlink()
    load(shared, "second", "empty")
    with httpx.stream("GET", shared.address + "/models/second/events", timeout=60) as stream:
        failed = next(event for event in read_events(stream) if event["state"] == "failed")
    assert failed["reason"].startswith("second has none of model.safetensors")
