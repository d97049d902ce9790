import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse

from service.core.settings import AuthSettings
from service.middleware.auth import Access, Auth, required
from service.protocols import is_inference

API, ADMIN = "key-for-inference", "key-for-everything"


async def hello(scope, receive, send):
    await PlainTextResponse("hello")(scope, receive, send)


@pytest.fixture
def ask(exchange, refuse):
    """Ask with a key; gives the status."""

    def send(method, path, key=None, app=hello, settings=None, headers=None):
        settings = settings or AuthSettings(api_keys=(API,), admin_keys=(ADMIN,))
        given = [("Authorization", f"Bearer {key}")] if key is not None else []
        return exchange(
            Auth(app, settings, refuse, is_inference),
            method,
            path,
            given if headers is None else headers,
        )

    return send


@pytest.mark.parametrize(
    ("method", "path", "access"),
    [
        ("GET", "/health/live", Access.OPEN),
        ("HEAD", "/health/ready", Access.OPEN),
        ("POST", "/health/live", Access.ADMIN),
        ("GET", "/health", Access.INFERENCE),
        ("GET", "/health/live/", Access.INFERENCE),
        ("GET", "/health/live\n", Access.INFERENCE),
        ("GET", "//health/live", Access.INFERENCE),
        ("GET", "/Health/live", Access.INFERENCE),
        ("GET", "/metrics", Access.INFERENCE),
        ("GET", "/docs", Access.INFERENCE),
        ("GET", "/models/events", Access.INFERENCE),
        ("GET", "/made/up", Access.INFERENCE),
        ("POST", "/v1/embeddings", Access.INFERENCE),
        ("POST", "/embed", Access.INFERENCE),
        ("POST", "/models/mini/predict", Access.INFERENCE),
        ("POST", "/models/owner/mini/predict", Access.INFERENCE),
        ("POST", "/models", Access.ADMIN),
        ("POST", "/models/", Access.ADMIN),
        ("POST", "/models\n", Access.ADMIN),
        ("POST", "/models/mini/load", Access.ADMIN),
        ("POST", "/models/mini/load\n", Access.ADMIN),
        ("POST", "/models/mini/unload", Access.ADMIN),
        ("POST", "/models/predict/load", Access.ADMIN),
        ("POST", "/models/mini/predict/", Access.ADMIN),
        ("DELETE", "/models/mini", Access.ADMIN),
        ("DELETE", "/models/mini/predict", Access.ADMIN),
        ("PUT", "/models/mini", Access.ADMIN),
        ("POST", "/v2/repository/models/mini/unload", Access.ADMIN),
        ("POST", "/made/up", Access.ADMIN),
    ],
)
def test_one_place_says_what_a_route_needs(method, path, access):
    assert required(method, path, is_inference(path)) is access


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize(
    "path",
    ["/", "/models", "//models", "/models/", "/Models", "/%6dodels", "/models/../models", "/v1",
     "/health", "/health/live/..", "/health//live", "/docs", "/openapi.json", "/unknown", ""],
)  # fmt: skip
def test_nothing_but_health_answers_without_a_key(ask, method, path):
    answer = ask(method, path)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_no_way_of_writing_a_path_lets_an_inference_key_change_models(ask):
    app, changed = FastAPI(), []
    app.post("/models")(lambda: changed.append("load"))
    app.post("/models/{name:path}/load")(lambda name: changed.append("reload"))
    app.delete("/models/{name:path}")(lambda name: changed.append("delete"))
    tails = ("", "/", "//", "\n", "/\n", "\r\n", " ", "/.", "/..", "?", "#", ";", "\0", "%2f")
    heads = ("/models", "//models", "/models/x/load", "/models//load", "/Models", "/./models",
             "/models/x", "/models/predict", "/models/x/predict", "/x/../models")  # fmt: skip
    for path in (head + tail for head in heads for tail in tails):
        for method in ("POST", "DELETE"):
            answer = ask(method, path, API, app)
            assert answer.status != 500
            assert not changed, (method, path)


def test_an_inference_key_is_told_what_is_missing(ask):
    assert ask("POST", "/v1/embeddings", API).status == 200
    assert ask("GET", "/models", API).status == 200
    answer = ask("POST", "/models", API)
    assert answer.status == 403
    assert b"needs an admin key" in answer.body
    assert "www-authenticate" not in answer.headers


def test_an_admin_key_opens_everything(ask):
    for method, path in (("POST", "/models"), ("DELETE", "/models/x"), ("POST", "/embed")):
        assert ask(method, path, ADMIN).status == 200


def test_without_admin_keys_every_key_opens_everything(ask):
    settings = AuthSettings(api_keys=("first", API))
    assert ask("POST", "/models", API, settings=settings).status == 200
    assert ask("POST", "/models", "first", settings=settings).status == 200


@pytest.mark.parametrize(
    "settings", [AuthSettings(), AuthSettings(enabled=False, api_keys=(API,))], ids=["none", "off"]
)
def test_without_keys_or_with_auth_off_nothing_is_asked(ask, settings):
    assert ask("POST", "/models", settings=settings).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", f"Bearer {API}")],
        [("Authorization", f"bearer   {API}")],
        [("X-API-Key", API)],
        [("Authorization", "Basic abc"), ("X-API-Key", API)],
        [("Authorization", "Bearer wrong"), ("X-API-Key", API)],
    ],
)
def test_a_key_may_come_in_either_header(ask, headers):
    assert ask("GET", "/models", headers=headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", API)],
        [("Authorization", f"Basic {API}")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", f"Bearer {API[:-1]}")],
        [("Authorization", f"Bearer {API}x")],
        [("Authorization", f"Bearer {API.upper()}")],
        [("Authorization", "Bearer ÿ")],
        [("X-API-Key", "")],
        [("Cookie", API)],
    ],
)
def test_a_wrong_key_is_refused(ask, headers):
    assert ask("GET", "/models", headers=headers).status == 401


def test_an_empty_key_in_the_settings_opens_nothing(ask):
    settings = AuthSettings(api_keys=("",))
    for headers in ([], [("X-API-Key", "")], [("Authorization", "Bearer ")]):
        assert ask("GET", "/models", headers=headers, settings=settings).status == 401


def test_every_key_is_compared_whichever_fits(ask, monkeypatch):
    compared = []

    def compare(one, other):
        compared.append(len(one) == len(other))
        return one == other

    monkeypatch.setattr("service.middleware.auth.hmac.compare_digest", compare)
    settings = AuthSettings(api_keys=("one", "a-longer-one"), admin_keys=("three",))
    for key in ("one", "three", "wrong"):
        compared.clear()
        ask("GET", "/models", key, settings=settings)
        assert compared == [True, True, True]


def test_a_root_path_hides_no_route(exchange, refuse):
    app = Auth(hello, AuthSettings(api_keys=(API,), admin_keys=(ADMIN,)), refuse, is_inference)
    key = [("X-API-Key", API)]
    assert exchange(app, "GET", "/base/health/live", root_path="/base").status == 200
    assert exchange(app, "POST", "/base/models", key, root_path="/base").status == 403
    assert exchange(app, "GET", "/based/health/live", root_path="/base").status == 401


def test_a_websocket_is_closed(ask, exchange, refuse):
    app = Auth(hello, AuthSettings(api_keys=(API,)), refuse, is_inference)
    assert exchange(app, type="websocket").sent == [{"type": "websocket.close", "code": 1008}]


def test_the_refusal_is_worded_for_the_path(ask):
    assert b'"/v1/embeddings"' in ask("POST", "/v1/embeddings").body
