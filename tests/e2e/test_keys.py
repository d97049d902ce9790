"""With keys, every route but liveness and readiness is closed."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.app import create_service
from service.core.settings import Settings

OPEN = {"/health/live", "/health/ready"}


@pytest.fixture(scope="module")
def closed(tiny: Path, start_once: Callable[[], Any]) -> Iterator[Any]:
    starter = start_once()
    server = starter(tiny, auth__api_keys='["inference"]', auth__admin_keys='["admin"]')
    yield server.wait_ready()
    starter.end()


def every_route() -> set[tuple[str, str]]:
    """Method and path of all that the application knows, documented or not."""
    app: FastAPI = create_service(Settings()).app
    found = set()
    for route in _flat(app.router.routes):
        path = re.sub(r"\{name(:path)?\}", "tiny", getattr(route, "path", ""))
        found |= {(method, path) for method in getattr(route, "methods", None) or ()}
    return found


def _flat(routes: Any) -> Iterator[Any]:
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if hasattr(inner, "routes"):
            yield from _flat(inner.routes)
        else:
            yield route


def test_the_routes_are_found() -> None:
    routes = every_route()
    assert len(routes) > 20
    assert {("POST", "/embed"), ("POST", "/v1/embeddings"), ("DELETE", "/models/tiny"),
            ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/metrics")} <= routes  # fmt: skip


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic admin"}, {"X-API-Key": ""}],
    ids=["none", "wrong", "basic", "empty"],
)
def test_without_a_key_every_route_but_two_is_401(closed: Any, headers: dict[str, str]) -> None:
    for method, path in sorted(every_route()):
        status = closed.call(method, path, headers=headers).status_code
        assert status == (200 if path in OPEN else 401), (method, path, status)


@pytest.mark.parametrize("path", ["/nowhere", "/health/live/", "//health/live", "/static/x"])
def test_what_is_no_route_is_closed_too(closed: Any, path: str) -> None:
    assert closed.get(path).status_code == 401


def test_a_key_of_inference_opens_no_change(closed: Any) -> None:
    key = {"Authorization": "Bearer inference"}
    assert closed.embed(headers=key).status_code == 200
    assert closed.get("/models", headers=key).status_code == 200
    assert closed.call("DELETE", "/models/tiny", headers=key).status_code == 403
    assert closed.post("/models", {"name": "a", "source": "b"}, headers=key).status_code == 403
    assert closed.post("/models", {"name": "a", "source": "b"},
                       headers={"X-API-Key": "admin"}).status_code == 400  # fmt: skip


def test_no_key_is_ever_written_to_the_log(closed: Any) -> None:
    closed.get("/models", headers={"Authorization": "Bearer inference-wrong"})
    assert "inference" not in closed.output
    assert "admin" not in closed.output
