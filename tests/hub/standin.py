"""A small hub in this process, that the real huggingface_hub client works against.

Repositories live in memory. Large files (by their ending) go by git LFS and are answered from
another origin, as on the real hub: ``localhost`` instead of ``127.0.0.1``.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

LARGE = (".safetensors", ".bin", ".h5", ".msgpack")
OWNER, TOKEN = "owner", "hf_of_owner"
STRANGER, STRANGERS_TOKEN = "stranger", "hf_of_stranger"

Files = dict[str, bytes]


def is_large(path: str) -> bool:
    return path.endswith(LARGE)


def oid_of(path: str, content: bytes) -> str:
    """What the hub calls a file's content: SHA-256 of a large one, else git's own hash."""
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Commit:
    sha: str
    message: str
    files: Files
    parent: "Commit | None" = None


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    refs: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)

    def commit(self, files: Files, message: str, branch: str = "main") -> Commit:
        parent = self.refs.get(branch)
        seed = repr((parent and parent.sha, message, sorted(files)))
        sha = hashlib.sha1(seed.encode() + b"".join(files[n] for n in sorted(files))).hexdigest()
        self.refs[branch] = Commit(sha, message, files, parent)
        return self.refs[branch]

    @property
    def head(self) -> Commit:
        return self.refs["main"]

    @property
    def messages(self) -> list[str]:
        """Of all commits on main, the last one first."""
        found, commit = [], self.refs.get("main")
        while commit is not None:
            found.append(commit.message)
            commit = commit.parent
        return found

    def find(self, revision: str) -> Commit | None:
        if revision in self.refs | self.tags:
            return (self.refs | self.tags)[revision]
        for commit in self.refs.values():
            while commit is not None:
                if commit.sha == revision:
                    return commit
                commit = commit.parent
        return None


@dataclass
class Hub:
    """The stand-in, its contents and what was asked of it.

    Attributes:
        url: address of the hub.
        sent: for each answer with a file's content its path, first byte and number of bytes.
        tokens: authorization headers that came with questions about repositories.
        tokens_elsewhere: authorization headers that reached the other origin; must stay empty.
        page: entries of a page of a list of files.
        parts: bytes of a part of a large file, larger ones come in several; None: all in one.
        is_chunked: content comes without a length.
        bytes_per_second: of content; None is as fast as it goes.
        cut_after: the next answer with content ends after so many bytes, once; content that is
            asked for then sets ``asked_again``, waits for ``go_on`` and is not had.
        corrupt: content is sent as zeros.
        before_commit: called before a commit is taken, once.
        refuse_upload: the next large file is refused, once.
        failures: by method, statuses that files are answered with first.
        holds_uploads: files of a megabyte and more are not read before ``go_on``.
        headers: take the place of those of every answer about a file; an empty one is not sent.
        verify_at: where the client shall ask whether a large file has come.
        next_page: where the list of files is said to go on.
        failure_headers: of the answers of ``failures``.
        is_endless: the list of files does not end.
        renamed: what repositories are called now.
        told_commit: takes the place of what a new commit is told by.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=lambda: {TOKEN: OWNER, STRANGERS_TOKEN: STRANGER})
    organizations: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"acme": (OWNER,)})
    sent: list[tuple[str, int, int]] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    tokens_elsewhere: list[str] = field(default_factory=list)
    page: int = 1000
    parts: int | None = None
    is_chunked: bool = False
    bytes_per_second: int | None = None
    cut_after: int | None = None
    was_cut: bool = False
    corrupt: bool = False
    asked_again: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    before_commit: Any = None
    refuse_upload: bool = False
    failures: dict[str, list[int]] = field(default_factory=dict)
    holds_uploads: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    verify_at: str = ""
    next_page: str = ""
    failure_headers: dict[str, str] = field(default_factory=dict)
    is_endless: bool = False
    renamed: dict[str, str] = field(default_factory=dict)
    told_commit: dict[str, str] = field(default_factory=dict)

    def add(self, repo_id: str, files: Files, **fields: Any) -> Repository:
        """A repository with one commit."""
        repository = self.repositories[repo_id] = Repository(**fields)
        repository.commit({".gitattributes": b"*.safetensors filter=lfs\n", **files}, "first")
        return repository

    @property
    def elsewhere(self) -> str:
        """Another origin, which large files go to and come from."""
        return self.url.replace("127.0.0.1", "localhost")

    def note_token(self, request: Request) -> None:
        """Remember a token that came where none should."""
        if (header := request.headers.get("authorization")) is not None:
            self.tokens_elsewhere.append(header)

    def user(self, request: Request) -> str | None:
        header = request.headers.get("authorization")
        self.tokens.append(header)
        if header is None:
            return None
        user = self.users.get(header.removeprefix("Bearer "))
        if user is None:
            text = "Invalid credentials in Authorization header"
            raise HTTPException(401, text, {"X-Error-Message": text})
        return user

    def may_write(self, user: str | None, namespace: str) -> bool:
        return user is not None and (
            user == namespace or user in self.organizations.get(namespace, ())
        )

    def repository(self, request: Request, owner: str, name: str) -> Repository:
        """A repository that the caller may read; a private one of others does not exist."""
        found = self.repositories.get(f"{owner}/{name}")
        may = self.may_write(self.user(request), owner)
        if found is None or (found.private and not may):
            raise HTTPException(404, "not found", {"X-Error-Code": "RepoNotFound"})
        if found.gated and not may:
            raise HTTPException(403, "gated", {"X-Error-Code": "GatedRepo"})
        return found

    def at(self, request: Request, owner: str, name: str, revision: str) -> Commit:
        commit = self.repository(request, owner, name).find(revision)
        if commit is None:
            raise HTTPException(404, "not found", {"X-Error-Code": "RevisionNotFound"})
        return commit

    def writable(self, request: Request, owner: str, name: str) -> Repository:
        repository = self.repository(request, owner, name)
        if not self.may_write(self.user(request), owner):
            raise HTTPException(403, "no right to write")
        return repository

    def content(self, request: Request, path: str, content: bytes) -> Response:
        """All of it, or the range that is asked for; cut if the test wants that."""
        content = bytes(len(content)) if self.corrupt else content
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        part, headers = content[start:], {"Content-Length": str(len(content) - start)}
        if start >= len(content) > 0:
            return Response(status_code=416)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.was_cut and not self.go_on.is_set():
            self.asked_again.set()
            self.go_on.wait(60)
            return Response(status_code=503)
        if self.cut_after is not None:
            part, self.cut_after, self.was_cut = part[: self.cut_after], None, True
        self.sent.append((path, start, len(part)))
        if self.is_chunked:
            del headers["Content-Length"]
        return StreamingResponse(self.paced(part), 206 if start else 200, headers)

    def paced(self, part: bytes) -> Iterator[bytes]:
        """At once, or at the pace of a slow link."""
        if self.bytes_per_second is None:
            yield part
            return
        step = self.bytes_per_second // 20
        for start in range(0, len(part), step):
            time.sleep(0.05)
            yield part[start : start + step]


def create_app(hub: Hub) -> FastAPI:
    from tests.hub.large_files import add_large_files, add_parts

    app = FastAPI()
    add_accounts(app, hub)
    add_information(app, hub)
    add_writing(app, hub)
    add_large_files(app, hub)
    add_parts(app, hub)
    add_commits(app, hub)
    add_content(app, hub)
    return app


def add_accounts(app: FastAPI, hub: Hub) -> None:
    @app.get("/api/whoami-v2")
    def whoami(request: Request) -> Any:
        if (user := hub.user(request)) is None:
            raise HTTPException(401, "no token")
        return {"type": "user", "name": user, "orgs": [{"name": o} for o in hub.organizations]}

    @app.post("/api/repos/create")
    async def create(request: Request) -> Any:
        body = await request.json()
        user = hub.user(request)
        namespace = body.get("organization") or user
        if not hub.may_write(user, namespace):
            raise HTTPException(401 if user is None else 403, "no right to create it")
        repo_id = f"{namespace}/{body['name']}"
        repo_id = hub.renamed.get(repo_id, repo_id)
        url = {"url": f"{hub.url}/{repo_id}", "id": repo_id}
        if repo_id in hub.repositories:
            return Response(json.dumps({**url, "error": "there is one"}), 409)
        hub.add(repo_id, {}, private=body.get("visibility") == "private")
        return url

    @app.delete("/api/repos/delete")
    async def delete(request: Request) -> Any:
        body = await request.json()
        owner = body.get("organization") or hub.user(request)
        hub.writable(request, owner, body["name"])
        del hub.repositories[f"{owner}/{body['name']}"]
        return {}

    @app.post("/api/validate-yaml")
    def validate() -> Any:
        return {"errors": [], "warnings": []}


def add_information(app: FastAPI, hub: Hub) -> None:
    def described(owner: str, name: str, repository: Repository, commit: Commit) -> Any:
        repo_id = f"{owner}/{name}"
        return {
            "_id": repo_id, "id": repo_id, "modelId": repo_id, "sha": commit.sha,
            "private": repository.private, "gated": False, "tags": [], "downloads": 0, "likes": 0,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }  # fmt: skip

    @app.get("/api/models/{owner}/{name}")
    def info(request: Request, owner: str, name: str) -> Any:
        repository = hub.repository(request, owner, name)
        return described(owner, name, repository, repository.head)

    @app.get("/api/models/{owner}/{name}/revision/{revision:path}")
    def revision_info(request: Request, owner: str, name: str, revision: str) -> Any:
        commit = hub.at(request, owner, name, revision)
        return described(owner, name, hub.repository(request, owner, name), commit)

    @app.get("/api/models/{owner}/{name}/tree/{revision}")
    def tree(
        request: Request, response: Response, owner: str, name: str, revision: str, cursor: int = 0
    ) -> Any:
        if request.url.hostname != "127.0.0.1":
            hub.note_token(request)
            return []
        files = hub.at(request, owner, name, revision).files
        if hub.is_endless:
            return StreamingResponse(itertools.repeat(b" " * 2**16))
        shown = sorted(files.items())[cursor:][: hub.page]
        if cursor + len(shown) < len(files) or hub.next_page:
            there = str(request.url.include_query_params(cursor=cursor + len(shown)))
            response.headers["Link"] = f'<{hub.next_page or there}>; rel="next"'
        return [
            {"type": "file", "path": path, "size": len(content), "oid": oid_of(path, content)}
            | ({"lfs": {"oid": oid_of(path, content), "size": len(content), "pointerSize": 130}}
               if is_large(path) else {})
            for path, content in shown
        ]  # fmt: skip

    @app.get("/api/models/{owner}/{name}/refs")
    def refs(request: Request, owner: str, name: str) -> Any:
        repository = hub.repository(request, owner, name)
        branches, tags = (
            [
                {"name": ref, "ref": f"refs/{kind}/{ref}", "targetCommit": commit.sha}
                for ref, commit in found.items()
            ]
            for kind, found in (("heads", repository.refs), ("tags", repository.tags))
        )
        return {"branches": branches, "tags": tags, "converts": []}


def add_writing(app: FastAPI, hub: Hub) -> None:
    @app.post("/api/models/{owner}/{name}/branch/{branch}")
    async def branch(request: Request, owner: str, name: str, branch: str) -> Any:
        repository = hub.writable(request, owner, name)
        start = (await request.json()).get("startingPoint", "main")
        repository.refs[branch] = hub.at(request, owner, name, start)
        return {}

    @app.post("/api/models/{owner}/{name}/tag/{revision}")
    async def tag(request: Request, owner: str, name: str, revision: str) -> Any:
        commit = hub.at(request, owner, name, revision)
        hub.writable(request, owner, name).tags[(await request.json())["tag"]] = commit
        return {}

    @app.post("/api/models/{owner}/{name}/preupload/{revision}")
    async def preupload(request: Request, owner: str, name: str, revision: str) -> Any:
        hub.writable(request, owner, name)
        files, body = hub.at(request, owner, name, revision).files, await request.json()
        answer = []
        for file in body["files"]:
            path = file["path"]
            mode = "lfs" if is_large(path) else "regular"
            oid = oid_of(path, files[path]) if path in files else None
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answer}


def add_commits(app: FastAPI, hub: Hub) -> None:
    @app.post("/api/models/{owner}/{name}/commit/{revision}")
    async def commit(request: Request, owner: str, name: str, revision: str) -> Any:
        repository = hub.writable(request, owner, name)
        if hub.before_commit is not None:
            before, hub.before_commit = hub.before_commit, None
            before()
        header, *changes = [json.loads(line) for line in (await request.body()).splitlines()]
        parent = header["value"].get("parentCommit")
        if parent not in (None, repository.refs[revision].sha):
            raise HTTPException(412, "the branch has moved")
        files = dict(repository.refs[revision].files)
        for change in changes:
            apply(hub, files, change["key"], change["value"])
        made = repository.commit(files, header["value"]["summary"], revision)
        url = f"{hub.url}/{owner}/{name}/commit/{made.sha}"
        told = {"commitOid": made.sha, "commitUrl": url, **hub.told_commit}
        return {"success": True, "hookOutput": "", **told}


def apply(hub: Hub, files: Files, key: str, value: dict[str, Any]) -> None:
    if key == "file":
        files[value["path"]] = base64.b64decode(value["content"])
    elif key == "lfsFile":
        files[value["path"]] = hub.objects[value["oid"]]
    elif key == "deletedFile":
        del files[value["path"]]
    else:
        raise HTTPException(400, f"{key} is not known")


def add_content(app: FastAPI, hub: Hub) -> None:
    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    def resolve(request: Request, owner: str, name: str, revision: str, path: str) -> Any:
        if hub.failures.get(request.method):
            status = hub.failures[request.method].pop()
            return Response(status_code=status, headers=hub.failure_headers)
        commit = hub.at(request, owner, name, revision)
        headers = {"X-Repo-Commit": commit.sha}
        if path not in commit.files:
            headers["X-Error-Code"] = "EntryNotFound"
            raise HTTPException(404, "not found", headers | hub.headers)
        content = commit.files[path]
        oid = oid_of(path, content)
        if is_large(path):
            hub.objects[oid] = content
            headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
            headers = {name: text for name, text in (headers | hub.headers).items() if text}
            return RedirectResponse(f"{hub.elsewhere}/objects/{oid}", 302, headers)
        there = f"/api/resolve-cache/models/{owner}/{name}/{commit.sha}/{path}"
        return RedirectResponse(there, 307, headers | {"ETag": 'W/"4a-Zq+/0="'})

    @app.api_route(
        "/api/resolve-cache/models/{owner}/{name}/{revision}/{path:path}", methods=["GET", "HEAD"]
    )
    def small(request: Request, owner: str, name: str, revision: str, path: str) -> Any:
        commit = hub.at(request, owner, name, revision)
        content = commit.files[path]
        etag = f'"{oid_of(path, content)}"'
        headers = {"X-Repo-Commit": commit.sha, "ETag": etag, **hub.headers}
        if request.method == "HEAD":
            return Response(headers={**headers, "Content-Length": str(len(content))})
        answer = hub.content(request, path, content)
        answer.headers.update(headers)
        return answer

    @app.get("/objects/{oid}")
    def download(request: Request, oid: str) -> Any:
        hub.note_token(request)
        return hub.content(request, oid, hub.objects[oid])


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """The stand-in on a free loopback port, empty."""
    hub, started = Hub(), threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        hub.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(create_app(hub), log_level="critical", lifespan="off")
        server = Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert started.wait(30)
            yield hub
        finally:
            hub.go_on.set()
            server.should_exit = True
            thread.join()
