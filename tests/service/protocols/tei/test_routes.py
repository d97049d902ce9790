import dataclasses

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from service.core.errors import BackendFailed, BadRequest, Forbidden, TooLarge
from service.core.messages import ModelState, TextInputs, TokenInputs

VECTOR = np.array([0.1, -0.5, 0.25], np.float32)


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("hi", TextInputs(["hi"])),
        (["a", "b"], TextInputs(["a", "b"])),
        ([1, 2], TokenInputs([[1, 2]])),
        ([[1, 2], [3]], TokenInputs([[1, 2], [3]])),
    ],
)
def test_every_form_of_input_gives_a_list_of_vectors(call, dataplane, value, inputs):
    reply = call("POST", "/embed", json={"inputs": value})
    assert reply.status_code == 200
    np.testing.assert_array_equal(np.float32(reply.json()[0]), VECTOR)
    [request] = dataplane.calls
    assert request.inputs == inputs
    assert request.model == "mini"
    assert request.task == "feature-extraction"


@pytest.mark.parametrize(
    ("sent", "parameters"),
    [
        ({}, {"truncate": False, "normalize": True}),
        ({"truncate": None, "normalize": False}, {"truncate": False, "normalize": False}),
        (
            {"truncate": True, "truncation_direction": "Left", "prompt_name": "query"},
            {
                "truncate": True,
                "normalize": True,
                "truncation_direction": "left",
                "prompt_name": "query",
            },
        ),
        (
            {"truncation_direction": "RIGHT", "prompt_name": None},
            {
                "truncate": False,
                "normalize": True,
                "truncation_direction": "right",
                "prompt_name": None,
            },
        ),
    ],
)
def test_parameters_reach_the_task(call, dataplane, sent, parameters):
    assert call("POST", "/embed", json={"inputs": "a"} | sent).status_code == 200
    assert dataplane.calls[0].parameters == parameters


@pytest.mark.parametrize(
    "sent",
    [{"truncation_direction": "up"}, {"truncation_direction": 3}, {"truncate": "yes"},
     {"normalize": 1}, {"prompt_name": 1}, {"dimensions": 8}],
)  # fmt: skip
def test_a_wrong_parameter_is_a_validation_error_that_names_it(call, sent):
    reply = call("POST", "/embed", json={"inputs": "a"} | sent)
    assert reply.status_code == 422
    assert reply.json()["error_type"] == "validation"
    assert reply.json()["error"].startswith(next(iter(sent)))


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (BadRequest("too long"), 422, "validation"),
        (BackendFailed("broken"), 424, "backend"),
        (TooLarge("inputs", 9, 8, "limits.max_inputs"), 413, "validation"),
        (Forbidden("no"), 403, "forbidden"),
    ],
)
def test_errors_have_the_statuses_of_tei(call, dataplane, error, status, error_type):
    dataplane.error = error
    reply = call("POST", "/embed", json={"inputs": "a"})
    assert reply.status_code == status
    assert reply.json() == {"error": error.message, "error_type": error_type}


def test_empty_has_a_type_of_its_own(call):
    reply = call("POST", "/embed", json={"inputs": []})
    assert (reply.status_code, reply.json()["error_type"]) == (400, "empty")


def test_the_root_is_another_name_of_embed(call, dataplane):
    replies = [call("POST", path, json={"inputs": ["a", "b"]}) for path in ("/", "/embed")]
    assert replies[0].status_code == 200
    assert replies[0].content == replies[1].content
    assert dataplane.calls[0] == dataplane.calls[1]
    wrong = call("GET", "/")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")


def test_huggingface_hubs_client_embeds_with_the_address_alone(app, dataplane, serve):
    client = InferenceClient(model=serve(app), token="none")
    vectors = client.feature_extraction("hi", normalize=True, truncate=True)
    np.testing.assert_array_equal(vectors, VECTOR[None])
    assert dataplane.calls[0].inputs == TextInputs(["hi"])
    assert dataplane.calls[0].parameters == {"normalize": True, "truncate": True}
    with pytest.raises(HfHubHTTPError, match="422"):
        client.feature_extraction("hi", dimensions=2)


def test_info_describes_the_default_model_without_its_path(call):
    info = call("GET", "/info").json()
    assert info["model_id"] == info["served_model_name"] == "mini"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 256
    assert info["model_dtype"] == "float32"
    assert info["max_client_batch_size"] == 2048
    assert info["auto_truncate"] is False


def test_info_keeps_a_hub_id_and_knows_no_type_without_pooling(call, dataplane):
    [info] = dataplane.infos
    dataplane.infos = [
        dataclasses.replace(
            info,
            spec=dataclasses.replace(info.spec, source="owner/mini"),
            facts=dataclasses.replace(info.facts, pooling=None),
        )
    ]
    reply = call("GET", "/info").json()
    assert reply["model_id"] == "owner/mini"
    assert reply["model_type"] is None


def test_info_of_a_model_that_still_loads_is_unhealthy(call, dataplane):
    [info] = dataplane.infos
    dataplane.infos = [dataclasses.replace(info, state=ModelState.LOADING, facts=None)]
    reply = call("GET", "/info")
    assert reply.status_code == 503
    assert reply.json()["error_type"] == "unhealthy"
    assert reply.headers["Retry-After"] == "1"
