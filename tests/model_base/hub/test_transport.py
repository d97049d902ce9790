"""The process's settings of huggingface_hub, for the length of a call."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub import constants, get_session, set_client_factory
from huggingface_hub.utils import close_session
from huggingface_hub.utils._http import default_client_factory

from model_base.errors import HubUnavailable
from model_base.hub.transport import checked_endpoint, speaks_xet, transport

PROXY = "http://127.0.0.1:9"
LIMIT = 30  # seconds; who waits longer never comes

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def factory() -> Iterator[Any]:
    """A factory of the user's own, which must be back afterwards."""

    def own() -> Any:
        return default_client_factory()

    set_client_factory(own)
    yield own
    set_client_factory(default_client_factory)


def factory_now() -> Any:
    from huggingface_hub.utils import _http

    return _http._GLOBAL_CLIENT_FACTORY


def patterns() -> set[str]:
    """What of the present client goes through proxies."""
    return {pattern.pattern for pattern, way in get_session()._mounts.items() if way is not None}


def test_what_was_set_is_back_after_the_block(factory: Any) -> None:
    with contextlib.suppress(KeyError), transport({"http": PROXY, "https://h": "h:1", "all": "h"}):
        assert patterns() >= {"http://", "https://h", "all://"}
        assert constants.HF_HUB_DISABLE_XET
        raise KeyError
    assert factory_now() is factory
    assert not constants.HF_HUB_DISABLE_XET
    assert PROXY not in str(patterns())
    close_session()


def test_no_proxy_for_a_scheme_is_none_at_all(
    factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    with transport({"http": None, "https": PROXY}):
        assert "http://" not in patterns()
    close_session()


def test_without_wishes_nothing_is_changed(factory: Any) -> None:
    client = get_session()
    with transport(), transport({}):
        assert get_session() is client
    with transport(xet=False):
        assert get_session() is client
    close_session()


def test_the_same_runs_side_by_side_and_others_wait(factory: Any) -> None:
    inside, leave, seen = threading.Event(), threading.Event(), []

    def hold() -> None:
        with transport({"http": PROXY}):
            inside.set()
            leave.wait(LIMIT)
            seen.append("proxied")

    def other() -> None:
        with transport():
            seen.append("direct")

    holder, waiting = (threading.Thread(target=f, daemon=True) for f in (hold, other))
    holder.start()
    assert inside.wait(LIMIT)
    with transport({"http": PROXY}):
        seen.append("the same")
    waiting.start()
    leave.set()
    for thread in (holder, waiting):
        thread.join(LIMIT)
    assert seen == ["the same", "proxied", "direct"]
    assert factory_now() is factory


def test_an_endpoint_is_an_address() -> None:
    assert checked_endpoint(None) is None
    assert checked_endpoint("http://hub/") == "http://hub"
    with pytest.raises(ValueError, match="mirror is 'hub'; accepted: the URL of a hub"):
        checked_endpoint("hub")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://a b", "http://u:SECRET@h", "http://h?SECRET", "http://h#SECRET", "http://", 5,
        "http://h:port", "http://[", "http://h\n", "ftp://u:SECRET@h",
    ],
)  # fmt: skip
def test_an_address_with_a_secret_or_none_at_all_is_refused_unseen(endpoint: Any) -> None:
    with pytest.raises(ValueError, match="accepted: the URL of a hub") as caught:
        checked_endpoint(endpoint)
    assert "SECRET" not in str(caught.value)


def test_who_waits_for_others_too_long_is_told(
    factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_base.hub.transport.MAX_WAIT_SECONDS", 0.01)
    told = []

    def other() -> None:
        with contextlib.suppress(HubUnavailable), transport():
            return
        told.append(True)

    with transport({"http": PROXY}):
        assert get_session().timeout.read is not None
        waiting = threading.Thread(target=other, daemon=True)
        waiting.start()
        waiting.join(LIMIT)
    assert told == [True]
    close_session()


def test_only_the_public_hub_is_known_to_speak_xet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert speaks_xet("https://huggingface.co")
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub")
    assert not speaks_xet(None)
