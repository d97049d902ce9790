"""Large files of the stand-in: git LFS, in one piece or in parts, on another origin."""

import asyncio
import hashlib
import math
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

from tests.hub.standin import Hub


def actions(hub: Hub, oid: str, size: int) -> dict[str, Any]:
    """Where a file is to be sent, and asked for when it is there."""
    verify = {"href": hub.verify_at or f"{hub.url}/api/verify"}
    if hub.parts is None or size <= hub.parts:
        return {"upload": {"href": f"{hub.elsewhere}/objects/{oid}"}, "verify": verify}
    count = math.ceil(size / hub.parts)
    parts = {f"{n:05}": f"{hub.elsewhere}/objects/{oid}/{n}" for n in range(1, count + 1)}
    header = {"chunk_size": str(hub.parts), **parts}
    upload = {"href": f"{hub.elsewhere}/objects/{oid}/complete", "header": header}
    return {"upload": upload, "verify": verify}


def keep(hub: Hub, oid: str, content: bytes) -> None:
    """Take a file that has come whole."""
    if hashlib.sha256(content).hexdigest() != oid:
        raise HTTPException(400, "another hash")
    hub.objects[oid] = content
    hub.uploads.append(oid)


def add_large_files(app: FastAPI, hub: Hub) -> None:
    """Add where they are asked about, and where those in one piece go."""

    @app.post("/{owner}/{name}.git/info/lfs/objects/batch")
    async def batch(request: Request, owner: str, name: str) -> Any:
        hub.writable(request, owner, name)
        objects = [(o["oid"], o["size"]) for o in (await request.json())["objects"]]
        found = [
            {"oid": oid, "size": size}
            | ({} if oid in hub.objects else {"actions": actions(hub, oid, size)})
            for oid, size in objects
        ]
        return {"transfer": "basic" if hub.parts is None else "multipart", "objects": found}

    @app.put("/objects/{oid}")
    async def upload(request: Request, oid: str) -> Any:
        hub.note_token(request)
        if hub.holds_uploads and int(request.headers["content-length"]) >= 1_000_000:
            await asyncio.to_thread(hub.go_on.wait, 60)
        content = await request.body()
        if hub.failures.get("PUT"):
            return Response(status_code=hub.failures["PUT"].pop())
        if hub.refuse_upload:
            hub.refuse_upload = False
            raise HTTPException(403, "no right to write")
        keep(hub, oid, content)
        return {}

    @app.post("/api/verify")
    async def verify(request: Request) -> Any:
        if request.url.hostname != "127.0.0.1":
            hub.note_token(request)
        body = await request.json()
        if len(hub.objects.get(body["oid"], b"")) != body["size"]:
            raise HTTPException(404, "no such object")
        return {}


def add_parts(app: FastAPI, hub: Hub) -> None:
    """Add where those in several go."""
    pieces: dict[tuple[str, int], bytes] = {}

    @app.put("/objects/{oid}/{number}")
    async def upload_part(request: Request, oid: str, number: int) -> Any:
        hub.note_token(request)
        pieces[oid, number] = await request.body()
        return Response(headers={"ETag": f'"{oid[:8]}-{number}"'})

    @app.post("/objects/{oid}/complete")
    async def complete(request: Request, oid: str) -> Any:
        hub.note_token(request)
        told = {part["partNumber"]: part["etag"] for part in (await request.json())["parts"]}
        if any(etag != f'"{oid[:8]}-{number}"' for number, etag in told.items()):
            raise HTTPException(400, "another part")
        keep(hub, oid, b"".join(pieces.pop((oid, number)) for number in sorted(told)))
        return {}
