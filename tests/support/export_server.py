"""A server of exports that does what each test tells it to, download by download."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aiohttp import web

JOB = "019c1388-0000-7000-8000-00000000000a"


@dataclass(frozen=True, slots=True)
class Serving:
    """How the server treats one request. ``most`` bytes are sent; ``then`` it ends as it should (``end``), aborts the connection
    (``abort``), closes it without the last chunk (``close``), holds it open (``hold``), or ends it as if all were there (``lie``).
    """

    most: int | None = None
    then: str = "end"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    """Other bytes than those of the export."""


WELL = Serving()


def problem(status: int, sentence: str, *, body: dict[str, Any] | None = None, retry_after: int | None = None) -> Serving:
    """An answer that is none."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Serving(status=status, body={"error": sentence, "code": "X", "traceId": "0", **(body or {})}, headers=headers)


@dataclass(slots=True)
class ExportServer:
    """One export. Each list of servings is used up from its front; behind its end, all goes well."""

    content: bytes
    told: dict[str, Any]
    """What the manifest says beside rows, bytes and hash."""
    creations: list[Serving] = field(default_factory=list)
    downloads: list[Serving] = field(default_factory=list)
    manifests: list[Serving] = field(default_factory=list)
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests that made exports."""
    offsets: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a download is held open."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    succeeded: bool = False

    async def create(self, request: web.Request) -> web.Response:
        """``POST /v1/exports``."""
        self.asked.append(await request.json())
        serving = self.creations.pop(0) if self.creations else WELL
        if serving.status != 200:
            return web.json_response(serving.body, status=serving.status, headers=serving.headers)
        return web.json_response({"jobId": JOB, "status": "PENDING"}, status=202)

    async def manifest(self, _request: web.Request) -> web.Response:
        """``GET …/manifest``."""
        serving = self.manifests.pop(0) if self.manifests else WELL
        if serving.status != 200:
            return web.json_response(serving.body, status=serving.status, headers=serving.headers)
        if not self.succeeded:
            return web.json_response({"error": "The export is RUNNING.", "code": "CONFLICT", "traceId": "0"}, status=409)
        digest = sha256(self.content).hexdigest()
        told = {"rows": str(self.content.count(b"\n")), "bytes": str(len(self.content)), "sha256": digest, **self.told}
        return web.json_response(told | serving.body)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """``GET …/download``."""
        self.offsets.append(int(request.query["offset"]))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        serving = self.downloads.pop(0) if self.downloads else WELL
        if serving.status != 200:
            return web.json_response(serving.body, status=serving.status, headers=serving.headers)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", **serving.headers})
        response.enable_chunked_encoding()
        await response.prepare(request)
        piece = (serving.content or self.content)[self.offsets[-1] :][: serving.most]
        for at in range(0, len(piece), 1000):
            await response.write(piece[at : at + 1000])
        assert request.transport is not None
        match serving.then:
            case "abort":
                request.transport.abort()
            case "close":
                await asyncio.sleep(0)
                request.transport.close()
            case "hold":
                self.held.set()
                await self.closing.wait()
            case "end":
                self.succeeded = True
            case _:
                pass
        return response


def export_server_of(lines: Sequence[bytes], **told: Any) -> ExportServer:
    """A server whose export has these lines."""
    return ExportServer(b"".join(line + b"\n" for line in lines), {"filtered": False, "truncated": False, "format": "JSONL", **told})


@asynccontextmanager
async def serving(server: ExportServer) -> AsyncIterator[ExportServer]:
    """The server on a free port."""
    app = web.Application()
    app.router.add_post("/v1/exports", server.create)
    app.router.add_get(f"/v1/exports/{JOB}/manifest", server.manifest)
    app.router.add_get(f"/v1/exports/{JOB}/download", server.download)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.closing.set()
        await runner.cleanup()
