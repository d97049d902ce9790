import pytest

from service.core.errors import Unauthenticated
from service.core.metrics import Metrics
from service.protocols import PROTOCOLS, refuser


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1", "/nothing", "//models", "/Models"])
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
    [("/v1/embeddings", "openai"), ("/embed", "tei"), ("/info", "tei"), ("/models", "native"),
     ("/v10", "native"), ("/embed/x", "native")],
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


def test_names_of_protocols_are_unlike():
    assert len({protocol.name for protocol in PROTOCOLS}) == len(PROTOCOLS)
