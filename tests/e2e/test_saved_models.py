"""SavedModels behind the real service: found, described, called by signature, batched."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.worker.runners.saved_model_files import write_keras, write_module, write_tf1

needs_tensorflow = pytest.mark.tensorflow
COUNT = 24


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, tiny: Path, start_once: Callable[[], Any]
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("saved_models")
    for number, write in (("1", write_tf1), ("00000002", write_keras), ("3", write_module)):
        write(folder / "half" / number)
    shutil.copytree(tiny, folder / "tiny")
    starter = start_once()
    yield starter(folder / "half", "--models", str(folder)).wait_ready()
    starter.end()


def predict(server: Any, body: Any, path: str = "half") -> Any:
    reply = server.post(f"/v1/models/{path}:predict", body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@needs_tensorflow
def test_the_highest_version_is_served_and_says_what_it_takes(server: Any) -> None:
    row = server.get("/models/half").json()
    assert (row["version"], row["framework"], row["task"]) == ("3", "saved_model", "tensors")
    assert row["signatures"]["serving_default"] == {
        "inputs": {"x": {"dtype": "float32", "shape": [None, 3]}},
        "outputs": {"y": {"dtype": "float32", "shape": [None, 3]}},
    }
    assert set(row["signatures"]) == {"serving_default", "look_up", "shout", "embed", "spin"}
    stats = server.get("/models/half/stats").json()
    assert (stats["num_parameters"], stats["forward_flops"]) == (13, None)
    status = server.get("/v1/models/half").json()["model_version_status"]
    assert [(v["version"], v["state"]) for v in status] == [("3", "AVAILABLE")]
    metadata = server.get("/v1/models/half/versions/3/metadata").json()["metadata"]
    assert set(metadata["signature_def"]["signature_def"]) == set(row["signatures"])


@needs_tensorflow
def test_every_signature_answers_on_both_protocols(server: Any) -> None:
    assert predict(server, {"instances": [[1, 2, 3]]}) == {"predictions": [[2, 4, 6]]}
    shout = {"signature_name": "shout", "instances": ["é", "b"]}
    assert predict(server, shout) == {
        "predictions": [
            {"loud": "é", "raw_bytes": {"b64": "w6k="}},
            {"loud": "B", "raw_bytes": {"b64": "Yg=="}},
        ]
    }
    inputs = {"ids": [[1, 9]], "plus": 0.1}
    found = {"found": [[1.1, 9.1]], "count": 2}
    assert predict(server, {"signature_name": "look_up", "inputs": inputs}) == {"outputs": found}
    native = server.post("/models/half/predict", {"inputs": inputs, "signature": "look_up"})
    assert native.json()["outputs"] == found
    for body, words in (
        (
            {"inputs": inputs, "signature": "no"},
            "accepted: embed, look_up, serving_default, shout, spin",
        ),
        ({"inputs": {"x": [[1, 2]]}}, "x has the shape [1, 2]; accepted: [any, 3]"),
        ({"inputs": {"ids": [[10]]}, "signature": "embed"}, "indices[0,0] = 10 is not in [0, 10)"),
        ({"inputs": "text"}, "takes no texts"),
        ({"inputs": "text", "signature": "embed"}, "signature: is for tensors by name"),
    ):
        reply = server.post("/models/half/predict", body)
        assert reply.status_code == 400
        assert words in reply.json()["error"]["message"]


@needs_tensorflow
def test_a_graph_that_never_ends_costs_its_request_and_no_other(server: Any) -> None:
    body = {"inputs": {"x": [1e300]}, "signature": "spin"}
    hurried = {"X-Request-Timeout-Ms": "500"}
    reply = server.post("/models/half/predict", body, headers=hurried)
    assert reply.status_code == 504
    assert predict(server, {"instances": [[1, 2, 3]]}) == {"predictions": [[2, 4, 6]]}
    assert predict(server, {"signature_name": "spin", "inputs": [-1e300]}) == {"outputs": [-1e300]}


@needs_tensorflow
def test_a_graph_that_never_ends_costs_none_that_ran_with_it(server: Any, wait_until: Any) -> None:
    def ask(value: float, timeout_ms: int) -> Any:
        body = {"inputs": {"x": [value]}, "signature": "spin"}
        hurried = {"X-Request-Timeout-Ms": str(timeout_ms)}
        return server.post("/models/half/predict", body, headers=hurried)

    with ThreadPoolExecutor(2) as pool, server.held():
        replies = [pool.submit(ask, 1e300, 3000), pool.submit(ask, -5, 30_000)]
        wait_until(lambda: server.metric("queued_requests", model="half") == 2)
    endless, innocent = (reply.result() for reply in replies)
    assert endless.status_code == 504
    assert innocent.json()["outputs"] == {"y": [-5]}


@needs_tensorflow
def test_requests_that_wait_are_computed_together_and_answered_apart(
    server: Any, wait_until: Any
) -> None:
    """Of two lengths and two signatures, and one that the graph refuses."""

    def ask(index: int) -> Any:
        if index % 3 == 2:
            body: Any = {"instances": [[index, 1, 2]]}
        else:
            ids = [[index % 10] * (1 + index % 3)] if index else [[77]]
            body = {"signature_name": "embed", "inputs": ids}
        return server.post("/v1/models/half:predict", body)

    before = server.metric("batch_size_count", model="half")
    with ThreadPoolExecutor(COUNT) as pool, server.held():
        replies = [pool.submit(ask, index) for index in range(COUNT)]
        wait_until(lambda: server.metric("queued_requests", model="half") == COUNT)
    answers = [reply.result() for reply in replies]
    assert [a.status_code for a in answers] == [400] + [200] * (COUNT - 1)
    for index, answer in enumerate(answers[1:], 1):
        if index % 3 == 2:
            assert answer.json() == {"predictions": [[2 * index, 2, 4]]}
        else:
            wanted = [[index % 10] * (1 + index % 3)]
            assert answer.json()["outputs"]["vectors"] == wanted
            np.testing.assert_allclose(answer.json()["outputs"]["root"], np.sqrt(wanted), 1e-6)
    assert server.metric("batch_size_count", model="half") - before < COUNT


@needs_tensorflow
def test_versions_come_beside_each_other_and_torch_models_speak_the_same(
    server: Any, wait_until: Any
) -> None:
    for version in ("1", "2"):
        body = {"name": "old", "source": "half", "version": version}
        assert server.post("/models", body).status_code == 202
        server.wait_state("old", "ready")
        assert predict(server, {"instances": [[1, 2, 3]]}, "old") == {"predictions": [[2, 4, 6]]}
    assert server.post("/models", {"name": "old", "source": "half", "version": "9"}).is_success
    wait_until(
        lambda: "'9'; the folder's SavedModels are 1, 2, 3" in server.get("/v1/models/old").text
    )
    assert server.call("DELETE", "/models/old").status_code == 204
    server.post("/models", {"name": "tiny", "source": "tiny"})
    server.wait_state("tiny", "ready")
    raw = {"input_ids": [[2, 5, 3]]}
    outputs = predict(server, {"inputs": raw}, "tiny")["outputs"]
    native = server.post("/models/tiny/predict", {"inputs": raw}).json()["outputs"]
    assert outputs["last_hidden_state"] == native["last_hidden_state"]
    row = predict(server, {"instances": [[2, 5, 3]]}, "tiny")["predictions"][0]
    assert row["last_hidden_state"] == native["last_hidden_state"][0]


@needs_tensorflow
def test_the_hub_is_no_place_for_a_saved_model(server: Any) -> None:
    body = {"name": "hub", "source": "owner/name", "framework": "saved_model"}
    reply = server.post("/models", body)
    assert reply.status_code == 400
    assert "is code and is not served from the hub" in reply.json()["error"]["message"]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed"
)
def test_without_tensorflow_the_service_starts_and_names_the_extra(start: Any, tiny: Path) -> None:
    folder = tiny.parent / "graph"
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    server = start(tiny, "--models", str(tiny.parent)).wait_ready()
    server.post("/models", {"name": "graph", "source": "graph"})
    row = server.wait_state("graph", "failed")
    assert row["reason"].endswith("get it with: pip install 'model-base[tensorflow]'")
    assert server.embed().status_code == 200
    shutil.rmtree(folder)
