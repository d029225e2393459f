"""A tail that outlives its connections: each new one goes on where the one before it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import aiohttp

from ops.client import CONNECT_SECONDS, Access, Interrupted, Refused, refuse
from ops.clock import Clock, SystemClock
from ops.tail.parser import Message, Overlong, Parser

PATH: Final = "/v1/events/tail"
FIRST_WAIT_SECONDS = 1.0
"""Before the first reconnect, until the server says how long it wants to be left alone."""
_LONGEST_WAIT_SECONDS = 30.0
_SILENCE_SECONDS = 45.0
"""Three comments of the server's that did not come: the connection is dead, though nobody has said so."""
_MEDIA_TYPE = "text/event-stream"

TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)


@dataclass(frozen=True, slots=True)
class Source:
    """What to tail: of which API, with the filters as it names them."""

    access: Access
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
            except Interrupted as error:
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
            raise Interrupted(f"connection lost ({str(error) or type(error).__name__})") from None

    def _get(self) -> Any:
        headers = {**self._source.access.authorization, "Accept": _MEDIA_TYPE, "Cache-Control": "no-store"}
        parameters = dict(self._source.filters)
        if self._position:
            headers["Last-Event-ID"] = self._position
        elif self._since:
            parameters["since"] = self._since
        # No redirects: they would take the key elsewhere.
        return self._session.get(self._source.access.route(PATH), params=parameters, headers=headers, allow_redirects=False)

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
    """Raises ``Refused`` and ``Interrupted`` for what is not a tail; ``now`` is in microseconds since 1970."""
    if answer.status != 200 or answer.content_type != _MEDIA_TYPE:
        await refuse(answer, now)
