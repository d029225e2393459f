"""A yardstick: a bare ASGI app behind uvicorn that reads each request and gives one fixed response, and does no work.

The response is one that HyreLog gave to the same request, so the same bytes come in and go out. What it takes is what HTTP
on this machine costs any server in Python; ``python -m tests.bench.echo PORT RESPONSE`` serves the response in that file.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import orjson
import uvicorn
import uvloop

from ops.local.ports import pick
from ops.local.probes import http_answers
from ops.local.process import wait_for
from ops.serve import App, Receive, Scope, Send
from tests.bench.helper import Helper, answer_lines, helper
from tests.bench.load import Generator, Load

_START_SECONDS = 60.0
_SET_BY_UVICORN = frozenset({"date", "connection"})


class Response(NamedTuple):
    """What HyreLog answered."""

    status: int
    headers: Mapping[str, str]
    body: str


class EchoError(Exception):
    """The server did not start, or HyreLog gave no response to copy."""


class EchoWindow(NamedTuple):
    """Requests a second, seconds of CPU a request of the server, and the load."""

    rate: float
    cpu: float
    load: Load


@dataclass(frozen=True, slots=True)
class Echo:
    """The running server."""

    port: int
    process: Helper
    generator: Generator

    async def window(self, requests: Path, seconds: float, connections: int) -> EchoWindow:
        """Send the requests of the directory as fast as it goes. Raises ``LoadError``."""
        before = self.process.cpu_seconds()
        load = await asyncio.to_thread(self.generator.run, self.port, requests, seconds, connections)
        return EchoWindow(load.requests / load.seconds, (self.process.cpu_seconds() - before) / load.requests, load)


def response_to(port: int, request: bytes) -> Response:
    """HyreLog's response to a whole request. Raises ``EchoError`` unless it is a 202."""
    head, _, content = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _version = first.split(" ")
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, content, dict(line.split(": ", 1) for line in lines))
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 202:
        raise EchoError(f"{path} was answered {answer.status}: {body}")
    return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


@asynccontextmanager
async def echoing(hyrelog_port: int, requests: Path, generator: Generator) -> AsyncIterator[Echo]:
    """The server, with the response that HyreLog gives now to the first request of the directory. Raises ``EchoError``."""
    response = await asyncio.to_thread(response_to, hyrelog_port, (requests / "1").read_bytes())
    port = pick()
    with NamedTemporaryFile("wb", prefix="hyrelog-bench-") as file:
        file.write(orjson.dumps(response._asdict()))
        file.flush()
        async with helper("tests.bench.echo", str(port), file.name) as process:
            if not await asyncio.to_thread(wait_for, lambda: http_answers(port, "/"), _START_SECONDS):
                raise EchoError(f"the echo server does not listen on {port}")
            yield Echo(port, process, generator)


def echo_app(response: Response) -> App:
    """The ASGI app."""
    headers = [(name.encode(), value.encode()) for name, value in response.headers.items() if name not in _SET_BY_UVICORN]
    start: dict[str, Any] = {"type": "http.response.start", "status": response.status, "headers": headers}
    body: dict[str, Any] = {"type": "http.response.body", "body": response.body.encode()}

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(start)
        await send(body)

    return app


async def _serve(port: int, response: Response) -> None:
    """With the options of ``ops.serve``, which wraps more around an app."""
    config = uvicorn.Config(
        echo_app(response),
        host="127.0.0.1",
        port=port,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    await answer_lines(lambda _line: {})
    server.should_exit = True
    await task


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Response(**orjson.loads(Path(sys.argv[2]).read_bytes()))))
