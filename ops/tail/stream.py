"""A tail that outlives its connections: each new one goes on where the one before it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import aiohttp
import orjson

from ops.clock import Clock, SystemClock
from ops.tail.parser import Message, Overlong, Parser
from schemas.webhooks import parse_retry_after

PATH: Final = "/v1/events/tail"
FIRST_WAIT_SECONDS = 1.0
"""Before the first reconnect, until the server says how long it wants to be left alone."""
_LONGEST_WAIT_SECONDS = 30.0
_LONGEST_RETRY_AFTER_SECONDS = 600.0
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 45.0
"""Three comments of the server's that did not come: the connection is dead, though nobody has said so."""
_TOLD_BYTES = 64 << 10
_MEDIA_TYPE = "text/event-stream"
_TRY_AGAIN = frozenset((408, 425, 429))

TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)


class Refused(Exception):
    """This tail won't be served, however often it is asked for. The message says why, in the server's words if it has any."""


class _Interrupted(Exception):
    """The connection did not come about, or broke. Another try may do better, after so many seconds at least."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Source:
    """What to tail: the API's URL, a key, and the filters as the API names them."""

    url: str
    key: str = field(repr=False)
    filters: Mapping[str, str] = field(default_factory=dict)


class Batch(NamedTuple):
    """What came in one piece, and where the tail is behind it. Without messages, only the position has moved."""

    messages: Sequence[Message]
    position: str


class Tail:
    """One tail. ``position`` is where to begin (empty: at what happens next, or at ``since``, an RFC 3339 time).

    ``say`` is told what happens to connections, for people to read; what a server says is in it as it came.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        source: Source,
        say: Callable[[str], None],
        *,
        position: str = "",
        since: str | None = None,
        wait_seconds: float = FIRST_WAIT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._session = session
        self._source = source
        self._say = say
        self._position = position
        self._since = since
        self._wait_seconds = wait_seconds
        self._clock = clock or SystemClock()
        self._failures = 0

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """All there is and will be. Raises ``Refused``."""
        while True:
            retry_after = 0.0
            try:
                async with aclosing(self._connection()) as connection:
                    async for batch in connection:
                        yield batch
            except _Interrupted as error:
                self._failures += 1
                retry_after = error.retry_after
                self._say(f"{error}: trying again in {self._pause(retry_after):.0f} s")
            await asyncio.sleep(self._pause(retry_after) * random.uniform(1.0, 1.2))  # noqa: S311 - clients that were cut together come back apart

    def _pause(self, retry_after: float) -> float:
        """Seconds: what the server asked for at the tail's end, twice as much after each failure, and never less than ``retry_after``."""
        return max(min(self._wait_seconds * 2.0 ** min(self._failures, 16), _LONGEST_WAIT_SECONDS), retry_after)

    async def _connection(self) -> AsyncGenerator[Batch, None]:
        try:
            async with self._get() as answer:
                await _check(answer, self._clock.micros())
                if self._failures:
                    self._say("connected again")
                async for batch in self._read(answer.content):
                    yield batch
        except (aiohttp.InvalidURL, aiohttp.ClientConnectorCertificateError) as error:
            raise Refused(str(error)) from None
        except Overlong:
            raise Refused("the server sends no events, but something that does not end") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _Interrupted(f"connection lost ({str(error) or type(error).__name__})") from None

    def _get(self) -> Any:
        headers = {"Authorization": f"Bearer {self._source.key}", "Accept": _MEDIA_TYPE, "Cache-Control": "no-store"}
        parameters = dict(self._source.filters)
        if self._position:
            headers["Last-Event-ID"] = self._position
        elif self._since:
            parameters["since"] = self._since
        # No redirects: they would take the key elsewhere.
        return self._session.get(self._source.url.rstrip("/") + PATH, params=parameters, headers=headers, allow_redirects=False)

    async def _read(self, content: aiohttp.StreamReader) -> AsyncGenerator[Batch, None]:
        parser = Parser(self._position)
        async for piece in content.iter_any():
            self._failures = 0
            messages = parser.feed(piece)
            if parser.retry_seconds is not None:
                self._wait_seconds = parser.retry_seconds
            if messages or parser.last_event_id != self._position:
                self._position = parser.last_event_id
                yield Batch(messages, self._position)


async def _check(answer: aiohttp.ClientResponse, now: int) -> None:
    """Raises ``Refused`` and ``_Interrupted`` for what is not a tail; ``now`` is in microseconds since 1970."""
    if answer.status == 200 and answer.content_type == _MEDIA_TYPE:
        return
    told = await _told(answer)
    if answer.status in _TRY_AGAIN or answer.status >= 500:
        seconds = parse_retry_after(answer.headers.get("Retry-After"), now) or 0.0
        raise _Interrupted(told, min(seconds, _LONGEST_RETRY_AFTER_SECONDS))
    raise Refused(told)


async def _told(answer: aiohttp.ClientResponse) -> str:
    """What the server says of itself: the sentence of an error's body and what it names, else the status."""
    body = b""
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _TOLD_BYTES:
            break
    status = f"{answer.status} {answer.reason}"
    try:
        parsed = orjson.loads(body)
        details = "".join(f"; {each.get('field', '')}: {each['message']}" for each in parsed.get("details", ()))
        return f"{status}: {parsed['error']}{details}"
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return f"{status}, which is no answer of HyreLog's"
