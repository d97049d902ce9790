import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.core.errors import Conflict
from service.core.messages import ModelInfo, ModelSpec, ModelState, TensorInputs, TextInputs
from service.protocols.base import BadField
from service.protocols.native.schemas import LoadBody, PredictBody

BAD_NAMES = ["", "-a", ".a", "a/b/c", "a..b", "a/", "/a", "a b", "ä", "a\n", "a" * 201, "events",
             "owner/predict", "a%b", "../etc"]  # fmt: skip


def test_a_row_says_what_is_known_and_hides_the_path(call, dataplane):
    dataplane.infos.append(
        ModelInfo(ModelSpec("owner/big", "owner/big@main"), ModelState.LOADING, created_s=3.0)
    )
    mini, big = call("GET", "/models").json()
    assert mini == {
        "name": "mini",
        "version": "1",
        "task": "feature-extraction",
        "state": "ready",
        "reason": "",
        "framework": "torch",
        "architecture": "BertModel",
        "dtype": "float32",
        "device": "cpu",
        "num_parameters": 22713216,
        "num_bytes": 90852864,
        "max_length": 256,
        "signatures": None,
        "created": 1000,
    }
    assert big["source"] == "owner/big@main"
    assert big["dtype"] is None
    assert call("GET", "/models/owner/big").json() == big


def test_an_unknown_model_is_404(call):
    reply = call("GET", "/models/nope")
    assert reply.status_code == 404
    assert reply.json()["error"] == {
        "type": "not_found",
        "message": "model 'nope' is not served here",
    }


@pytest.mark.parametrize("name", ["a..b", "a/b/c", "owner/predict", "-a", "a" * 201])
def test_a_name_no_model_can_have_is_refused_in_paths(call, name):
    reply = call("GET", f"/models/{name}")
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("name: a model's name")


def test_stats_take_the_shape_from_the_query(call):
    reply = call("GET", "/models/mini/stats").json()
    assert (reply["batch_size"], reply["sequence_length"]) == (1, None)  # the model picks it
    assert reply["inputs"] == {"input_ids": [1, 128]}
    assert reply["num_bytes_by_dtype"] == {"float32": 40}
    reply = call("GET", "/models/mini/stats?batch_size=4&sequence_length=16").json()
    assert (reply["batch_size"], reply["sequence_length"]) == (4, 16)
    reply = call("GET", "/models/mini/stats?sequence_length=4096").json()
    assert reply["sequence_length"] == 4096  # the model refuses it, not the route
    refused = call("GET", "/models/mini/stats?batch_size=0")
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("batch_size: ")


def test_stats_of_an_unknown_model_are_404(call):
    assert call("GET", "/models/nope/stats").status_code == 404


def test_a_prediction_carries_parameters_and_all_facts(call, dataplane):
    dataplane.outputs = [{"label": "good", "score": 0.5}]
    body = {"inputs": "hi", "parameters": {"top_k": 1}}
    reply = call("POST", "/models/mini/predict", json=body).json()
    assert reply == {
        "model": "mini",
        "version": "1",
        "task": "feature-extraction",
        "outputs": [{"label": "good", "score": 0.5}],
        "num_tokens": 7,
    }
    [request] = dataplane.calls
    assert request.inputs == TextInputs(["hi"])
    assert request.parameters == {"top_k": 1}
    assert request.task is None


def test_tensors_go_in_and_come_out_by_name(call, dataplane):
    dataplane.outputs = {"logits": np.array([[1.5, np.inf]], np.float32)}
    body = {"inputs": {"input_ids": [[1, 2]], "mask": [[True, False]]}}
    reply = call("POST", "/models/mini/predict", json=body)
    assert reply.json()["outputs"] == {"logits": [[1.5, "Infinity"]]}
    inputs = dataplane.calls[0].inputs
    assert isinstance(inputs, TensorInputs)
    assert {name: array.dtype for name, array in inputs.arrays.items()} == {
        "input_ids": np.int64,
        "mask": np.bool_,
    }


@pytest.mark.parametrize(
    ("body", "start"),
    [
        ({"inputs": {"ids": [[1], [2, 3]]}}, "inputs.ids: "),
        ({"inputs": {}}, "inputs: is empty"),
        ({"inputs": 3}, "inputs: expected a text, a list of texts, a list of token ids or a list "
         "of such lists, or an object of tensors by name; got integer"),
        ({"inputs": {"question": "q"}}, "inputs.question: got text, but an object means tensors"),
        ({"inputs": {"question": "q", "context": [1]}}, "inputs.question: got text, but an"),
        ({"inputs": {"source_sentence": "a", "sentences": []}}, "inputs.source_sentence: got "),
        ({"inputs": {f"x{index}": [1] for index in range(65)}}, "inputs: 65 tensors; expected at"),
        ({"inputs": {"question": "q", "context": ""}}, "inputs: is empty"),
        ({"inputs": {"question": "q", "context": "c"}, "parameters": {"question": "r"}},
         "parameters.question: given a second time"),
        ({"inputs": "a", "parameter": {}}, "parameter: "),
        ({"inputs": "a", "parameters": []}, "parameters: "),
    ],
)  # fmt: skip
def test_a_wrong_prediction_is_refused_by_name(call, body, start):
    reply = call("POST", "/models/mini/predict", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(start)


def test_the_first_unknown_field_ends_the_reading_of_a_body():
    for body in (PredictBody, LoadBody):
        with pytest.raises(BadField, match="x0: not a field; accepted: (inputs|name), "):
            body.model_validate({f"x{index}": 0 for index in range(100_000)})


def test_more_rows_than_inputs_allowed_are_too_large_before_they_are_tensors(call, dataplane):
    for rows in ([[]] * 2049, [[1]] * 2048 + [["text"]]):
        reply = call("POST", "/models/mini/predict", json={"inputs": {"ids": rows}})
        assert reply.status_code == 413
        assert "(setting limits.max_inputs)" in reply.json()["error"]["message"]
    assert dataplane.calls == []


def test_a_question_with_its_context_is_a_text_and_a_parameter(call, dataplane):
    body = {
        "inputs": {"question": "who?", "context": "me"},
        "parameters": {"top_k": 2},
    }
    dataplane.outputs = [[{"answer": "me"}]]
    assert call("POST", "/models/mini/predict", json=body).status_code == 200
    [request] = dataplane.calls
    assert request.inputs == TextInputs(["me"])
    assert request.parameters == {"top_k": 2, "question": "who?"}


def test_loading_is_accepted_and_says_where_to_look(call, dataplane):
    body = {"name": "owner/new", "source": "owner/new@abc", "dtype": "bfloat16", "version": "2"}
    reply = call("POST", "/models", json=body)
    assert reply.status_code == 202
    assert reply.headers["Location"] == "/models/owner/new"
    assert reply.json()["state"] == "queued"
    assert dataplane.calls == [
        ModelSpec("owner/new", "owner/new@abc", version="2", dtype="bfloat16")
    ]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_not_loaded(call, dataplane, name):
    reply = call("POST", "/models", json={"name": name, "source": "owner/new"})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("name: ")
    assert dataplane.calls == []


@pytest.mark.parametrize(
    "source",
    ["", "https://host/x", "file:///etc", "../x", "a/../../x", "a\0b", "a\nb", 3, None, "a" * 5000],
)
def test_a_bad_source_is_not_loaded(call, dataplane, source):
    reply = call("POST", "/models", json={"name": "new", "source": source})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("source: ")
    assert dataplane.calls == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("trust_remote_code", True), ("dtype", "int3"), ("device", "cuda"), ("device", "cpu\n"),
     ("framework", "../torch"), ("version", ".."), ("version", ""), ("version", 1)],
)  # fmt: skip
def test_any_other_wrong_field_is_named(call, dataplane, field, value):
    reply = call("POST", "/models", json={"name": "new", "source": "owner/new", field: value})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(f"{field}: ")
    assert dataplane.calls == []


def test_a_very_long_field_name_is_not_repeated(call):
    reply = call("POST", "/models", json={"name": "new", "source": "owner/new", "x" * 100_000: 1})
    assert len(reply.text) < 500


def test_a_model_goes_and_comes_back(call, dataplane):
    assert call("POST", "/models/mini/unload").status_code == 202
    assert call("POST", "/models/mini/load").headers["Location"] == "/models/mini"
    assert dataplane.calls == [("unload", "mini"), ("reload", "mini")]
    reply = call("DELETE", "/models/mini")
    assert (reply.status_code, reply.content) == (204, b"")
    assert call("DELETE", "/models/mini").status_code == 404


def test_a_taken_name_is_a_conflict(call, dataplane):
    async def refuse(spec):
        raise Conflict(f"model {spec.name!r} is served already")

    dataplane.load = refuse
    reply = call("POST", "/models", json={"name": "mini", "source": "owner/mini"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (409, "conflict")


def test_events_of_all_models_are_not_a_model_called_events(call, dataplane):
    reply = call("GET", "/models/events")
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert reply.headers["Cache-Control"] == "no-cache"
    assert reply.text.startswith('event: state\ndata: {"name":"mini"')
    call("GET", "/models/mini/events")
    assert dataplane.calls == [("events", None), ("events", "mini")]


def test_events_of_an_unknown_model_are_404(call):
    assert call("GET", "/models/nope/events").status_code == 404


def test_health_tells_life_from_readiness(call, dataplane):
    assert call("GET", "/health/ready").json() == {"ready": True, "waiting_for": []}
    assert call("GET", "/health").status_code == 200
    dataplane.waiting_for = ("mini",)
    for path in ("/health", "/health/ready"):
        reply = call("GET", path)
        assert reply.status_code == 503
        assert reply.json() == {"ready": False, "waiting_for": ["mini"]}
    assert call("GET", "/health/live").json() == {"live": True}
    assert call("HEAD", "/health/live").status_code == 200
    assert call("HEAD", "/health/ready").status_code == 503


def test_metrics_are_prometheus_text(call):
    call("GET", "/health/live")
    reply = call("GET", "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    families = {family.name for family in text_string_to_metric_families(reply.text)}
    assert {"model_base_requests", "model_base_request_seconds"} <= families
