"""Models between a hub and the service: jobs, their lives and ends, and the cache."""

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub.standin import TOKEN, Hub, running

NAME = "owner/tiny"


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def hub(tiny: Path) -> Iterator[Hub]:
    """A hub with one model."""
    with running() as hub:
        hub.add(NAME, files_of(tiny))
        yield hub


@pytest.fixture
def serve(start: Any, hub: Hub, tiny: Path, tmp_path: Path) -> Callable[..., Any]:
    """Starts a service that asks this hub, with the owner's token; its cache outlives it."""

    def serve(*arguments: str, **settings: str) -> Any:
        return start(
            tiny, "--models", str(tiny.parent), *arguments, HF_HOME=str(tmp_path / "hf"),
            HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1",
            **{"sync__token": TOKEN} | settings,
        ).wait_ready()  # fmt: skip

    return serve


def settled(server: Any, location: str, wait_until: Any) -> dict[str, Any]:
    """The job, once nothing more happens to it."""

    def look() -> Any:
        job = server.get(location).json()
        return job if job["state"] not in ("queued", "running") else None

    job: dict[str, Any] = wait_until(look)
    return job


def test_a_model_is_pulled_and_served_under_a_name(serve: Any, hub: Hub, wait_until: Any) -> None:
    server = serve()
    reply = server.post("/hub/pull", {"repo_id": NAME, "load_as": "mine"})
    assert reply.status_code == 202
    location = reply.headers["Location"]
    assert location == f"/hub/jobs/{reply.json()['id']}"
    job = settled(server, location, wait_until)
    size = sum(map(len, hub.repositories[NAME].head.files.values()))
    assert (job["state"], job["kind"], job["error"]) == ("done", "pull", None)
    assert job["commit"] == hub.repositories[NAME].head.sha
    assert 0 < job["bytes_done"] == job["bytes_total"] <= size
    assert job["files_done"] == job["files_total"] > 2
    assert job["rate"] > 0
    row = server.wait_state("mine", "ready", "failed")
    assert (row["state"], row["source"]) == ("ready", f"{NAME}@{job['commit']}")
    again = server.post("/hub/pull", {"repo_id": NAME, "load_as": "mine"}).headers["Location"]
    job = settled(server, again, wait_until)
    assert (job["state"], job["bytes_total"]) == ("done", 0)
    assert [j["id"] for j in server.get("/hub/jobs").json()][-1] == reply.json()["id"]
    events = server.get(f"{location}/events").text
    assert json.loads(events.split("data: ")[1])["state"] == "done"
    (cached,) = server.get("/hub/models").json()
    assert (cached["repo_id"], cached["served_as"]) == (NAME, ["mine"])
    assert cached["revisions"][0]["refs"] == ["main"]
    refused = server.call("DELETE", f"/hub/models/{NAME}")
    assert refused.status_code == 409
    assert "is served as 'mine'" in refused.json()["error"]["message"]
    assert server.call("DELETE", "/models/mine").status_code == 204
    freed = server.call("DELETE", f"/hub/models/{NAME}?revision=main").json()["freed_bytes"]
    assert freed >= cached["num_bytes"] - 10
    assert server.get("/hub/models").json() == []
    assert server.call("DELETE", f"/hub/models/{NAME}").status_code == 404
    assert server.metric("hub_jobs", kind="pull", state="done") == 2
    assert server.metric("hub_bytes_total", kind="pull") > 0
    assert TOKEN not in server.output


def test_what_was_pulled_is_served_without_asking_the_hub_again(
    serve: Any, hub: Hub, wait_until: Any
) -> None:
    server, asked = serve(), []
    for body in ({}, {"load_as": "mine"}):
        hub.tokens.clear()
        location = server.post("/hub/pull", {"repo_id": NAME, **body}).headers["Location"]
        assert settled(server, location, wait_until)["state"] == "done"
        if body:
            server.wait_state("mine", "ready")
        asked.append(len(hub.tokens))
        assert server.call("DELETE", f"/hub/models/{NAME}").status_code == (409 if body else 200)
    assert asked[0] == asked[1] > 0


def test_what_cannot_be_pulled_is_refused_or_fails_with_its_reason(
    serve: Any, hub: Hub, wait_until: Any
) -> None:
    server = serve(sync__allowed='["owner", "acme/one"]', auth__admin_keys='["admin"]')
    admin = {"headers": {"X-API-Key": "admin"}}
    for path in ("/hub/jobs", "/hub/models", "/hub/jobs/x"):
        assert server.get(path).status_code == 401
    for body, words in (
        ({"repo_id": "acme/two"}, "'acme/two' is not allowed (setting sync.allowed)"),
        ({"repo_id": "owner2/tiny"}, "not allowed"),
        ({"repo_id": "../etc"}, "repo_id"),
        ({"repo_id": "owner/..tiny"}, "repo_id"),
        ({"repo_id": NAME, "revision": "a/../b"}, "cannot be one"),
        ({"repo_id": NAME, "revision": "main/"}, "cannot be one"),
        ({"repo_id": NAME, "revision": "a//b"}, "cannot be one"),
        ({"repo_id": NAME, "token": "hf_x"}, "token: not a field"),
    ):
        reply = server.post("/hub/pull", body, **admin)
        assert reply.status_code == 400, body
        assert words in reply.json()["error"]["message"]
    source = {"name": "two", "source": "acme/two"}
    assert server.post("/models", source, **admin).status_code == 400
    hub.add("owner/empty", {})
    for repo_id, words in (
        ("owner/absent", "is neither a local folder nor a model on the hub"),
        ("owner/empty", "has no config.json"),
    ):
        location = server.post("/hub/pull", {"repo_id": repo_id}, **admin).headers["Location"]

        def failed(location: str = location) -> Any:
            job = server.get(location, **admin).json()
            return job if job["state"] == "failed" else None

        assert words in wait_until(failed)["error"]
    assert server.get("/hub/jobs/unknown", **admin).status_code == 404
    assert server.call("DELETE", "/hub/jobs/unknown", **admin).status_code == 404


def hold(hub: Hub) -> threading.Event:
    """Hold back all content from now on; returns what is set when some is asked for."""
    asked, send = threading.Event(), hub.content

    def wait(*args: Any) -> Any:
        asked.set()
        hub.go_on.wait(60)
        return send(*args)

    hub.content = wait  # type: ignore[method-assign]
    return asked


def test_jobs_wait_for_their_turn_and_can_be_cancelled(
    serve: Any, hub: Hub, wait_until: Any
) -> None:
    server = serve(sync__parallel="1")
    asked = hold(hub)
    first, second = (
        server.post("/hub/pull", {"repo_id": NAME}).headers["Location"] for _ in range(2)
    )
    assert asked.wait(30)
    assert [server.get(each).json()["state"] for each in (first, second)] == ["running", "queued"]
    refused = server.call("DELETE", f"/hub/models/{NAME}")
    assert refused.status_code == 409
    assert "wait for it, or cancel it" in refused.json()["error"]["message"]
    for each in (second, first):
        assert server.call("DELETE", each).json()["state"] == "cancelled"
    hub.go_on.set()
    third = server.post("/hub/pull", {"repo_id": NAME}).headers["Location"]
    assert settled(server, third, wait_until)["state"] == "done"
    assert server.get(first).json()["state"] == "cancelled"


def test_what_is_not_allowed_any_more_is_not_taken_up(
    serve: Any, hub: Hub, wait_until: Any
) -> None:
    server = serve(sync__parallel="1")
    asked = hold(hub)
    locations = [server.post("/hub/pull", {"repo_id": NAME}).headers["Location"] for _ in range(2)]
    server.post("/hub/follow", {"model": "mine", "repo_id": NAME})
    assert asked.wait(30)
    server.stop(signal.SIGKILL)
    hub.go_on.set()
    again = serve(sync__allowed='["acme"]')
    for location in locations:
        job = settled(again, location, wait_until)
        assert (job["state"], "not allowed" in job["error"]) == ("failed", True)
    (row,) = wait_until(lambda: [r for r in again.get("/hub/follow").json() if r["error"]])
    assert "not allowed" in row["error"]


def test_a_stream_of_a_job_ends_with_the_service(serve: Any, hub: Hub) -> None:
    server = serve(worker__grace_s="600")
    asked = hold(hub)
    location = server.post("/hub/pull", {"repo_id": NAME}).headers["Location"]
    assert asked.wait(30)
    with httpx.stream("GET", f"{server.address}{location}/events", timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: job"
        server.send(signal.SIGTERM)
        assert '"running"' in next(lines)
        assert not any("data: " in line and '"done"' in line for line in lines)
    assert server.wait() == 0


def test_what_a_model_is_just_loaded_from_is_not_deleted(serve: Any, hub: Hub) -> None:
    server = serve()
    asked = hold(hub)
    assert server.post("/models", {"name": "mine", "source": NAME}).status_code == 202
    assert asked.wait(30)
    refused = server.call("DELETE", f"/hub/models/{NAME}")
    assert refused.status_code == 409
    assert "'mine' is downloading" in refused.json()["error"]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_pull_outlives_the_service(
    number: signal.Signals, serve: Any, hub: Hub, wait_until: Any
) -> None:
    server = serve()
    asked = hold(hub)
    location = server.post("/hub/pull", {"repo_id": NAME, "load_as": "mine"}).headers["Location"]
    assert asked.wait(30)
    server.stop(number)
    hub.go_on.set()
    again = serve()
    assert settled(again, location, wait_until)["state"] == "done"
    assert again.wait_state("mine", "ready", "failed")["state"] == "ready"


def test_a_served_model_and_a_folder_are_pushed(
    serve: Any, hub: Hub, tiny: Path, wait_until: Any
) -> None:
    server = serve()
    files = files_of(tiny)
    for body in ({"model": tiny.name}, {"path": tiny.name}):
        repo_id = f"owner/{next(iter(body))}"
        reply = server.post("/hub/push", {**body, "repo_id": repo_id, "commit_message": "m"})
        assert reply.status_code == 202, reply.text
        job = settled(server, reply.headers["Location"], wait_until)
        repository = hub.repositories[repo_id]
        assert (job["state"], job["commit"]) == ("done", repository.head.sha)
        assert job["commit_url"] == f"{hub.url}/{repo_id}/commit/{repository.head.sha}"
        assert job["bytes_done"] == job["bytes_total"] == sum(map(len, files.values()))
        assert files.items() <= repository.head.files.items()
    body = {"path": tiny.name, "repo_id": "owner/path", "max_shard_size": "50KB"}
    location = server.post("/hub/push", body).headers["Location"]
    assert settled(server, location, wait_until)["state"] == "done"
    assert "model.safetensors.index.json" in hub.repositories["owner/path"].head.files
    for status, body, words in (
        (400, {"repo_id": NAME, "model": tiny.name, "max_shard_size": "much"}, "max_shard_size"),
        (400, {"repo_id": NAME}, "exactly one of model and path"),
        (400, {"repo_id": NAME, "path": "../x"}, "'..'"),
        (404, {"repo_id": NAME, "model": "absent"}, "is not served here"),
    ):
        reply = server.post("/hub/push", body)
        assert reply.status_code == status
        assert words in reply.json()["error"]["message"]
    absent = {"repo_id": "owner/absent", "path": tiny.name, "create": False}
    location = server.post("/hub/push", absent).headers["Location"]
    assert settled(server, location, wait_until)["state"] == "failed"
    assert "owner/absent" not in hub.repositories


def test_the_bytes_of_a_push_are_told_as_they_go(
    serve: Any, hub: Hub, tmp_path: Path, tiny: Path, wait_until: Any
) -> None:
    folder = tmp_path / "more" / "large"
    shutil.copytree(tiny, folder)
    (folder / "second.safetensors").write_bytes(bytes(30_000_000))
    server = serve("--models", str(folder.parent))
    hub.holds_uploads = True
    location = server.post("/hub/push", {"path": "large", "repo_id": "owner/l"}).headers["Location"]
    job = wait_until(lambda: (found := server.get(location).json())["bytes_done"] and found)
    assert job["state"] == "running"
    assert 0 < job["bytes_done"] < job["bytes_total"]
    hub.go_on.set()
    job = settled(server, location, wait_until)
    assert (job["state"], job["bytes_done"]) == ("done", job["bytes_total"])
    assert job["files_done"] == job["files_total"]


def test_a_model_follows_a_branch_and_keeps_what_works(
    serve: Any, hub: Hub, tiny: Path, wait_until: Any
) -> None:
    server = serve()
    repository, files = hub.repositories[NAME], files_of(tiny)
    first = repository.head
    body = {"model": "mine", "repo_id": NAME, "interval_s": 1}
    assert server.post("/hub/follow", body).json()["branch"] == "main"

    def row() -> Any:
        (found,) = server.get("/hub/follow").json()
        return found

    wait_until(lambda: row()["commit"] == first.sha)
    assert server.get("/models/mine").json()["version"] == first.sha[:12]
    broken = repository.commit({**files, "config.json": b"{"}, "broken")
    wait_until(lambda: row()["error"])
    assert broken.sha[:12] in row()["error"]
    served = server.get("/models/mine").json()
    assert (served["version"], served["state"]) == (first.sha[:12], "ready")
    mended = repository.commit({**files, "README.md": b"new"}, "mended")
    wait_until(lambda: row()["commit"] == mended.sha)
    assert (server.get("/models/mine").json()["version"], row()["error"]) == (mended.sha[:12], None)
    server.stop()
    again = serve()
    (found,) = again.get("/hub/follow").json()
    assert (found["model"], found["interval_s"]) == ("mine", 1)
    assert again.wait_state("mine", "ready")["version"] == mended.sha[:12]
    assert again.call("DELETE", "/hub/follow/mine").status_code == 204
    assert again.call("DELETE", "/hub/follow/mine").status_code == 404
    assert again.get("/hub/follow").json() == []
    assert again.get("/models/mine").json()["state"] == "ready"
