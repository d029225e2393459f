"""A download as an HTTP answer: an ASGI response that, broken off, never looks complete.

The last chunk is sent once it is written down that the export succeeded. Whatever goes wrong before, the connection is cut instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Final, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.exports.actions import Exports, Pulse, Started
from api.exports.archive import ArchiveCold, ArchiveUnreadable
from api.exports.content import Content
from api.exports.rows import MEDIA_TYPES
from api.exports.source import Batch, ChainBroken, EventsGone
from ops import log
from ops.auth import Principal
from ops.metrics import Metrics
from ops.serve import ABORT
from schemas.problems import Unavailable

BEAT_SECONDS: Final = 1.0
STALL_SECONDS: Final = 60.0
"""A client that has not read a piece for so long is gone."""
_PIECE: Final = 64 << 10
_FAILURES: Final[Mapping[type[Exception], str]] = {
    ArchiveCold: "ARCHIVE_COLD",
    ArchiveUnreadable: "ARCHIVE_UNREADABLE",
    ChainBroken: "CHAIN_BROKEN",
    EventsGone: "EVENTS_GONE",
    Unavailable: "UNAVAILABLE",
}
_LOG = log.get(__name__)
Item = TypeVar("Item")


class _Stopped(Exception):
    """The download ends here. ``state`` and ``reason`` are to be written down; ``None``: nothing is."""

    def __init__(self, state: str | None, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


class Download(Response):
    """One download of an export."""

    def __init__(
        self, exports: Exports, caller: Principal, started: Started, batches: AsyncGenerator[Batch], content: Content, coding: str,
        *, stopping: asyncio.Event, metrics: Metrics,
    ) -> None:  # fmt: skip
        """``batches`` become ``content``, which is encoded by ``coding``; ``stopping`` is set when the process ends."""
        super().__init__()
        self._exports = exports
        self._caller = caller
        self._started = started
        self._batches = batches
        self._content = content
        self._coding = coding
        self._stopping = stopping
        self._metrics = metrics
        self._ending = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        region = self._caller.region
        under_way = self._metrics.export_downloads.labels(region)
        under_way.inc()
        ended = ("FAILED", "INTERRUPTED")
        try:
            await self._run(receive, send)
            ended = ("SUCCEEDED", "")
        except _Stopped as stopped:
            ended = (stopped.state or "CANCELED", stopped.reason)
            _LOG.warning("download broken off", export=self._started.job.id, reason=stopped.reason)
            if stopped.state is not None:
                with suppress(Unavailable):  # then it will be found dead
                    await self._exports.end(self._caller, self._started, stopped.state, stopped.reason, self._content.rows)
            # Not a word more: without its last chunk the answer is cut, and every client sees that.
            scope.get("extensions", {}).get(ABORT, {}).get("call", _nothing)()
        finally:
            under_way.dec()
            self._metrics.export_ended.labels(*ended, region).inc()
            for origin, count in self._content.origins.items():
                self._metrics.export_rows.labels(self._started.job.wish.format, origin, region).inc(count)

    async def _run(self, receive: Receive, send: Send) -> None:
        """Pour it out, unless something else happens first. Raises ``_Stopped``."""
        pouring = asyncio.create_task(self._pour(send))
        watches = [asyncio.create_task(watch) for watch in (self._beat(), _disconnected(receive), self._stop())]
        try:
            await asyncio.wait({pouring, *watches}, return_when=asyncio.FIRST_COMPLETED)
            for task in (pouring, *watches):  # a watch that ends raises
                if task.done():
                    task.result()
                    return
        except tuple(_FAILURES) as error:
            raise _Stopped("FAILED", next(reason for kind, reason in _FAILURES.items() if isinstance(error, kind))) from None
        except asyncio.CancelledError:
            raise _Stopped("FAILED", "INTERRUPTED") from None
        except _Stopped:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it has to be written down and the connection cut
            _LOG.exception("download failed", export=self._started.job.id)
            raise _Stopped("FAILED", "INTERNAL_ERROR") from None
        finally:
            for task in (pouring, *watches):
                task.cancel()
            await asyncio.gather(pouring, *watches, return_exceptions=True)

    async def _pour(self, send: Send) -> None:
        content, job = self._content, self._started.job
        await send({"type": "http.response.start", "status": 200, "headers": self._own_headers()})
        await _tell(send, content.begin())
        async with aclosing(self._batches), aclosing(ahead(self._batches)) as batches:
            async for batch in batches:
                # Hashing and encoding let the loop run, rendering gives way to it every few milliseconds.
                await _tell(send, await asyncio.to_thread(content.add, batch))
                if content.truncated:
                    break
        await _tell(send, await asyncio.to_thread(content.end))
        # The server takes a message once what it holds is nearly all with the client: so the last chunk does not wait for a slow reader.
        await _send(send, b"")
        # From here on the run is given up in the database, by us: a beat that finds it gone would cut a whole answer.
        self._ending.set()
        if not await self._exports.succeed(self._caller, self._started, content.rows, content.truncated, content.result()):
            raise _Stopped(None, "SUPERSEDED")
        _LOG.info("exported", export=job.id, rows=content.rows)
        await _send(send, b"", more=False)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._ending.is_set():
                continue
            with suppress(Unavailable):
                pulse = await self._exports.beat(self._caller, self._started, self._content.rows)
                if self._ending.is_set():
                    continue
                if pulse is Pulse.SUPERSEDED:
                    raise _Stopped(None, "SUPERSEDED")
                if pulse is Pulse.KEY_ENDED:
                    raise _Stopped("CANCELED", "KEY_ENDED")

    async def _stop(self) -> None:
        await self._stopping.wait()
        raise _Stopped("FAILED", "INTERRUPTED")

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        job = self._started.job
        headers = [
            (b"content-type", MEDIA_TYPES[job.wish.format].encode()),
            (b"content-disposition", b'attachment; filename="%b"' % job.file_name.encode()),
            (b"cache-control", b"no-store, no-transform"),
            (b"x-accel-buffering", b"no"),  # nginx would gather it
            (b"x-content-type-options", b"nosniff"),
            (b"vary", b"accept-encoding"),
        ]
        return headers if self._coding == "identity" else [*headers, (b"content-encoding", self._coding.encode())]


async def ahead(items: AsyncIterator[Item]) -> AsyncGenerator[Item]:
    """The same, each fetched while the one before is worked on."""

    async def fetch() -> Item | None:
        return await anext(items, None)

    coming = asyncio.create_task(fetch())
    try:
        while (item := await coming) is not None:
            coming = asyncio.create_task(fetch())
            yield item
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _tell(send: Send, told: bytes) -> None:
    for at in range(0, len(told), _PIECE):
        await _send(send, told[at : at + _PIECE])


async def _send(send: Send, piece: bytes, *, more: bool = True) -> None:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await send({"type": "http.response.body", "body": piece, "more_body": more})
    except TimeoutError:
        raise _Stopped("CANCELED", "CLIENT_STALLED") from None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _Stopped("CANCELED", "CLIENT_GONE")


def _nothing() -> None:
    """What a server without the extension does: it cuts an answer without an end by itself."""
