import base64
import dataclasses

import numpy as np
import pytest

from service.core.errors import BadRequest, ModelNotFound, Overloaded
from service.core.messages import (
    ModelFacts,
    ModelInfo,
    ModelSpec,
    ModelState,
    SignatureFacts,
    TensorFacts,
)
from service.protocols import PROTOCOLS, is_inference

ONE = SignatureFacts(
    {"x": TensorFacts("float32", (None, 2))}, {"y": TensorFacts("float32", (None, 2))}
)
TWO = SignatureFacts(
    {"a": TensorFacts("int32", (None,)), "b": TensorFacts("string", None)},
    {"c": TensorFacts("bool", ()), "d": TensorFacts("float16", (3,))},
)
FACTS = ModelFacts(
    "SavedModel", "saved_model", "float32", "cpu", "tensors", 1, 4, 64, inputs=("x",),
    signatures={"serving_default": ONE, "two": TWO},
)  # fmt: skip
VALUES = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture
def half(dataplane):
    """``half`` version 3 beside the torch model; its answers are ``dataplane.outputs``."""
    spec = ModelSpec("half", "/srv/half", "3", "saved_model")
    dataplane.infos.append(ModelInfo(spec, ModelState.READY, facts=FACTS, created_s=5.0))
    dataplane.outputs = {"y": VALUES}
    return dataplane


def predict(call, body, path="half"):
    return call("POST", f"/v1/models/{path}:predict", json=body)


def test_rows_of_the_only_input_need_no_name_and_nor_does_the_only_output(call, half):
    reply = predict(call, {"instances": [[1, 2.5], [3, 4]]})
    assert reply.status_code == 200
    assert reply.json() == {"predictions": [[1, 2], [3, 4]]}
    (request,) = half.calls
    assert request.signature == "serving_default"
    assert request.version is None
    assert request.inputs.arrays["x"].tolist() == [[1, 2.5], [3, 4]]


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded"])
def test_the_content_type_need_not_be_told(call, half, metrics, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    reply = call(
        "POST", "/v1/models/half:predict", content=b'{"inputs": [[1, 2]]}', headers=headers
    )
    assert reply.json() == {"outputs": [[1, 2], [3, 4]]}
    labels = {"protocol": "tf_serving", "model": "half", "code": "200"}
    assert metrics.registry.get_sample_value("model_base_requests_total", labels) == 1


def test_columns_are_answered_with_columns(call, half):
    for inputs in ([[1, 2]], {"x": [[1, 2]]}):
        assert predict(call, {"inputs": inputs}).json() == {"outputs": [[1, 2], [3, 4]]}
        assert half.calls.pop().inputs.arrays["x"].tolist() == [[1, 2]]


def test_several_inputs_and_outputs_have_names(call, half):
    half.outputs = {"c": np.array([True, False]), "d": np.array([1, 2], np.float16)}
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": {"b64": "/w=="}}]
    reply = predict(call, {"signature_name": "two", "instances": rows})
    assert reply.json() == {"predictions": [{"c": True, "d": 1.0}, {"c": False, "d": 2.0}]}
    arrays = half.calls[0].inputs.arrays
    assert arrays["a"].tolist() == [1, 2]
    assert arrays["b"].tolist() == [b"x", b"\xff"]
    columns = {"a": [1, 2], "b": "lone"}
    reply = predict(call, {"signature_name": "two", "inputs": columns})
    assert reply.json() == {"outputs": {"c": [True, False], "d": [1.0, 2.0]}}
    assert half.calls[1].inputs.arrays["b"].item() == b"lone"


def test_bytes_in_base64_are_a_value_and_not_names(call, half):
    predict(call, {"signature_name": "serving_default", "instances": [{"b64": "YQ=="}]})
    assert half.calls[0].inputs.arrays["x"].tolist() == [b"a"]


def test_outputs_called_bytes_and_bytes_that_are_no_text_are_base64(call, half):
    half.outputs = {"t": np.array([b"a", b"\xff"], object), "t_bytes": np.array([b"a"] * 2, object)}
    reply = predict(call, {"inputs": [[1, 2]]}).json()["outputs"]
    assert reply["t"][0] == "a"
    assert base64.b64decode(reply["t"][1]["b64"]) == b"\xff"
    assert reply["t_bytes"] == [{"b64": "YQ=="}] * 2


def test_numbers_that_json_has_not_are_bare_words(call, half):
    half.outputs = {"y": np.array([np.nan, np.inf, -np.inf, 1], np.float32)}
    assert (
        predict(call, {"inputs": [[1, 2]]}).text == '{"outputs": [NaN, Infinity, -Infinity, 1.0]}'
    )


def test_a_lone_number_is_an_output_of_columns_only(call, half):
    half.outputs = {"loss": np.float32(0.5)[...]}
    assert predict(call, {"inputs": [[1, 2]]}).json() == {"outputs": 0.5}
    reply = predict(call, {"instances": [[1, 2]]})
    assert reply.status_code == 400
    assert "accepted: the columnar format" in reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "instances: expected either instances (by row) or inputs"),
        ({"instances": [[1, 2]], "inputs": [[1, 2]]}, "instances: expected either"),
        ({"instances": {"x": 1}}, "instances: expected a list"),
        ({"instances": []}, "instances: is empty"),
        ({"inputs": {}}, "inputs: is empty"),
        ({"instances": [[1, 2], [3]]}, "inputs.x: the lists in one level differ in length"),
        ({"instances": [{"x": 1}, {"y": 1}]}, "instances.1: has other inputs"),
        ({"instances": [{"x": 1}, 2]}, "instances.1: has other inputs"),
        ({"instances": [1], "signature_name": "two"}, "instances: has no names"),
        (
            {"inputs": 1, "signature_name": "no"},
            "signature is 'no'; accepted: serving_default, two",
        ),
        ({"inputs": 1, "signature_name": 3}, "signature_name: "),
    ],
)
def test_a_wrong_question_is_400_and_says_what_is_wrong(call, half, body, words):
    reply = predict(call, body)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith(words)
    assert not half.calls


def test_a_torch_model_takes_its_tensors_by_name(call, dataplane):
    dataplane.infos[0] = dataclasses.replace(
        dataplane.infos[0],
        facts=dataclasses.replace(dataplane.infos[0].facts, inputs=("input_ids",)),
    )
    dataplane.outputs = {"last_hidden_state": VALUES[:1], "pooler_output": VALUES[:1]}
    for body in ({"instances": [[1, 2]]}, {"instances": [{"input_ids": [1, 2]}]}):
        reply = predict(call, body | {"signature_name": "serving_default"}, "mini")
        assert reply.json() == {"predictions": [{name: [1, 2] for name in dataplane.outputs}]}
        request = dataplane.calls.pop()
        assert request.signature is None
        assert request.inputs.arrays["input_ids"].tolist() == [[1, 2]]
    signatures = call("GET", "/v1/models/mini/metadata").json()["metadata"]["signature_def"]
    inputs = signatures["signature_def"]["serving_default"]["inputs"]
    assert inputs["input_ids"]["tensor_shape"] == {"dim": [], "unknown_rank": True}


def test_a_version_or_a_label_of_it_can_be_asked(call, half):
    for path in ("half/versions/3", "half/labels/3"):
        assert predict(call, {"inputs": [[1, 2]]}, path).status_code == 200
        assert half.calls.pop().version == "3"
        assert call("GET", f"/v1/models/{path}").json() == {
            "model_version_status": [
                {
                    "version": "3",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        }


def test_the_path_that_openai_has_too_answers_what_both_read(call, half):
    spec = ModelSpec("half", "/srv/half", "4", "saved_model")
    half.infos.append(ModelInfo(spec, ModelState.FAILED, "no memory"))
    reply = call("GET", "/v1/models/half").json()
    assert (reply["id"], reply["object"], reply["owned_by"]) == ("half", "model", "model-base")
    states = [(v["version"], v["state"]) for v in reply["model_version_status"]]
    assert states == [("3", "AVAILABLE"), ("4", "END")]
    status = reply["model_version_status"][1]["status"]
    assert status == {"error_code": "UNKNOWN", "error_message": "no memory"}


def test_metadata_tell_every_signature_in_protobufs_words(call, half):
    reply = call("GET", "/v1/models/half/metadata").json()
    assert reply["model_spec"] == {"name": "half", "signature_name": "", "version": "3"}
    signatures = reply["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    assert signatures["serving_default"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
        "name": "x",
    }
    two = signatures["two"]
    kinds = {name: t["dtype"] for side in ("inputs", "outputs") for name, t in two[side].items()}
    assert kinds == {"a": "DT_INT32", "b": "DT_STRING", "c": "DT_BOOL", "d": "DT_HALF"}
    assert call("GET", "/v1/models/half/versions/3/metadata").json() == reply


def test_errors_are_one_text(call, half):
    for path, wanted in (("none", "Latest(none)"), ("none/versions/7", "Specific(none, 7)")):
        reply = predict(call, {"inputs": 1}, path)
        assert reply.status_code == 404
        assert reply.json() == {"error": f"Servable not found for request: {wanted}"}
    for error, status in ((BadRequest("bad"), 400), (Overloaded("full", 2), 429)):
        half.error = error
        reply = predict(call, {"inputs": [[1, 2]]})
        assert (reply.status_code, reply.json()) == (status, {"error": error.message})
    assert call("POST", "/v1/models/half:predict", content=b"{").json()["error"].startswith("body")


def test_a_model_that_is_still_loading_is_503(call, dataplane):
    dataplane.infos.append(ModelInfo(ModelSpec("new", "new"), ModelState.LOADING))
    assert predict(call, {"inputs": 1}, "new").status_code == 503
    assert call("GET", "/v1/models/new/metadata").status_code == 503
    status = call("GET", "/v1/models/new").json()["model_version_status"]
    assert status[0]["state"] == "LOADING"


@pytest.mark.parametrize(
    ("path", "owns", "computes"),
    [
        ("/v1/models/a:predict", True, True),
        ("/v1/models/a/b/versions/1:predict", True, True),
        ("/v1/models/a:classify", True, False),
        ("/v1/models/a/metadata", True, False),
        ("/v1/models/a/labels/stable", True, False),
        ("/v1/models/a", False, False),
        ("/v1/models", False, False),
    ],
)
def test_a_path_is_known_to_be_its_own(path, owns, computes):
    assert PROTOCOLS[0].name == "tf_serving"
    assert PROTOCOLS[0].owns(path) is owns
    assert is_inference(path) is computes


def test_unknown_models_are_worded_for_whom_they_are_told():
    error = ModelNotFound("m")
    (tf_serving,) = (p for p in PROTOCOLS if p.name == "tf_serving")
    assert b"Latest(m)" in tf_serving.encode_error(error).body
