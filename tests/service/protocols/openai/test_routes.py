import base64

import numpy as np
import openai
import pytest

from service.core.errors import Overloaded
from service.core.messages import ModelInfo, ModelSpec, ModelState, TextInputs, TokenInputs

VECTOR = np.array([0.1, -0.5, 0.25], np.float32)


def embed(call, **body):
    return call("POST", "/v1/embeddings", json={"model": "mini"} | body)


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("hi", TextInputs(["hi"])),
        (["a", "b"], TextInputs(["a", "b"])),
        ([1, 2], TokenInputs([[1, 2]])),
        ([[1, 2], [3]], TokenInputs([[1, 2], [3]])),
    ],
)
def test_every_form_of_input_reaches_the_model(call, dataplane, value, inputs):
    reply = embed(call, input=value)
    assert reply.status_code == 200
    [request] = dataplane.calls
    assert request.inputs == inputs
    assert request.task == "feature-extraction"
    assert request.parameters == {}
    assert [row["index"] for row in reply.json()["data"]] == list(range(len(reply.json()["data"])))


def test_an_answer_has_vectors_and_usage(call):
    reply = embed(call, input=["a", "b"], user="me", unheard_of=1).json()
    assert reply["object"] == "list"
    assert reply["model"] == "mini"
    assert reply["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    second = reply["data"][1]
    assert second["object"] == "embedding"
    np.testing.assert_array_equal(np.float32(second["embedding"]), VECTOR * 2)


def test_no_encoding_format_is_float(call):
    reply = embed(call, input="a", encoding_format=None)
    assert reply.status_code == 200
    np.testing.assert_array_equal(np.float32(reply.json()["data"][0]["embedding"]), VECTOR)


def test_base64_holds_little_endian_float32(call):
    reply = embed(call, input="a", encoding_format="base64").json()
    assert base64.b64decode(reply["data"][0]["embedding"]) == VECTOR.astype("<f4").tobytes()


def test_dimensions_are_refused_with_the_reason(call):
    reply = embed(call, input="a", dimensions=64)
    assert reply.status_code == 400
    assert reply.json()["error"] == {
        "message": "dimensions: not supported: a model's vectors have one size and are not "
        "truncated",
        "type": "invalid_request_error",
        "param": "dimensions",
        "code": None,
    }
    assert embed(call, input="a", dimensions=None).status_code == 200


def test_an_unknown_model_is_named(call):
    reply = embed(call, input="a", model="nope")
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert "'nope'" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [({"input": "a", "model": 3}, "model"), ({}, "input"), ({"input": "a", "model": "m" * 201},
     "model"), ({"input": "a", "encoding_format": "hex"}, "encoding_format")],
)  # fmt: skip
def test_a_wrong_field_is_named(call, body, param):
    reply = embed(call, **body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_model_without_pooling_is_refused(call, dataplane):
    dataplane.outputs = [np.ones((4, 3), np.float32)]
    reply = embed(call, input="a")
    assert reply.status_code == 400
    assert "no pooling" in reply.json()["error"]["message"]


def test_models_are_listed_once_whatever_their_versions(call, dataplane):
    for version in ("1", "2"):
        spec = ModelSpec("owner/big", "owner/big", version)
        dataplane.infos.append(ModelInfo(spec, ModelState.LOADING))
    reply = call("GET", "/v1/models").json()
    assert [row["id"] for row in reply["data"]] == ["mini", "owner/big"]
    assert reply["data"][0] == {
        "id": "mini",
        "object": "model",
        "created": 1000,
        "owned_by": "model-base",
    }
    assert call("GET", "/v1/models/owner/big").json()["id"] == "owner/big"
    assert call("GET", "/v1/models/owner/other").status_code == 404


@pytest.fixture
def client(app, serve):
    with openai.OpenAI(base_url=f"{serve(app)}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_official_client_reads_vectors_models_and_errors(client, dataplane):
    answer = client.embeddings.create(model="mini", input=["a", "b"])  # asks for base64
    np.testing.assert_array_equal(np.float32(answer.data[1].embedding), VECTOR * 2)
    assert answer.usage.total_tokens == 7
    assert [model.id for model in client.models.list()] == ["mini"]
    assert client.models.retrieve("mini").owned_by == "model-base"
    with pytest.raises(openai.NotFoundError) as not_found:
        client.embeddings.create(model="nope", input="a")
    assert not_found.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad_request:
        client.embeddings.create(model="mini", input="")
    assert bad_request.value.param == "input"
    dataplane.error = Overloaded("the queue is full", 2.0)
    with pytest.raises(openai.RateLimitError) as overloaded:
        client.embeddings.create(model="mini", input="a")
    assert overloaded.value.response.headers["Retry-After"] == "2"
    dataplane.error = RuntimeError("boom")
    with pytest.raises(openai.InternalServerError, match="failed on this request"):
        client.embeddings.create(model="mini", input="a")


def test_the_official_client_tries_again_when_told_so(client, dataplane):
    infer, failures = dataplane.infer, [Overloaded("the queue is full", 0.0)]

    async def fail_once(request):
        if failures:
            raise failures.pop()
        return await infer(request)

    dataplane.infer = fail_once
    answer = client.with_options(max_retries=1).embeddings.create(model="mini", input="a")
    assert len(answer.data) == 1
