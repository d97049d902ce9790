import pytest

from service.core.errors import Unauthenticated
from service.core.metrics import Metrics
from service.protocols import PROTOCOLS, is_inference, refuser


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1", "/nothing", "http://test//models", "/Models"]
)
def test_an_unknown_path_is_404_in_the_words_of_its_protocol(call, path):
    reply = call("GET", path)
    assert reply.status_code == 404
    assert ("param" in reply.json()["error"]) == path.startswith("/v1")
    assert "/docs" in reply.json()["error"]["message"]


def test_a_very_long_path_is_not_repeated(call):
    assert len(call("GET", "/" + "a" * 20_000).text) < 500


def test_a_wrong_method_is_405_and_names_the_right_one(call):
    reply = call("GET", "/embed")
    assert reply.status_code == 405
    assert reply.headers["Allow"] == "POST"
    assert reply.json()["error_type"] == "validation"


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/embeddings", "openai"), ("/embed", "tei"), ("/info", "tei"), ("/", "tei"),
     ("/models", "native"), ("/v10", "native"), ("/embed/x", "native")],
)  # fmt: skip
def test_a_refusal_is_worded_and_counted_by_the_owner_of_the_path(path, name):
    metrics = Metrics()
    refuse = refuser(metrics)
    response = refuse({"path": path}, Unauthenticated("no key"), None)
    assert response.status_code == 401
    labels = {"protocol": name, "model": "unknown", "code": "401"}
    assert metrics.registry.get_sample_value("model_base_requests_total", labels) == 1


def test_the_description_names_no_status_that_is_never_sent(call):
    description = call("GET", "/openapi.json").json()
    operations = [
        operation for path in description["paths"].values() for operation in path.values()
    ]
    assert len(operations) >= 16
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"]
        assert "422" not in operation["responses"]
    assert call("GET", "/docs").status_code == 200


@pytest.mark.parametrize(
    ("body", "field", "kinds"),
    [("EmbeddingsBody", "input", 4), ("EmbedBody", "inputs", 4), ("PredictBody", "inputs", 5)],
)
def test_the_description_tells_every_form_of_the_inputs(call, body, field, kinds):
    schemas = call("GET", "/openapi.json").json()["components"]["schemas"]
    forms = schemas[body]["properties"][field]["anyOf"]
    assert len(forms) == kinds
    assert forms[:2] == [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    assert forms[3]["items"] == forms[2]
    assert field in schemas[body]["required"]


@pytest.mark.parametrize(
    ("path", "computes"),
    [("/", True), ("/embed", True), ("/v1/embeddings", True), ("/models/mini/predict", True),
     ("", False), ("//", False), ("/info", False), ("/models", False), ("/models/x/load", False)],
)  # fmt: skip
def test_a_path_that_only_computes_is_told_from_one_that_changes_models(path, computes):
    assert is_inference(path) is computes


def test_names_of_protocols_are_unlike():
    assert len({protocol.name for protocol in PROTOCOLS}) == len(PROTOCOLS)
