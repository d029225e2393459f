"""Fetches that wait at the broker for long while nothing comes, and are cut short when what they read changes.

A fetch that brings nothing costs broker and consumer 1 ms of CPU together: at a wait of 50 ms each consumer of an idle
machine spends 20 ms a second. A long wait is safe only with three additions, which aiokafka lacks:

- it begins when nothing came for half a second, and ends with the first record, not when as many bytes have gathered as else;
- it ends when a partition is sought or resumed: the fetcher has one fetch in flight at a node, and leaves the partition out until
  that one is answered. The broker answers a connection's requests in turn, so ending it means closing its connection: fetches
  have one of their own, and neither metadata nor offsets wait behind them;
- it begins only when it covers every partition: while something fetched is not yet taken, its partitions are left out, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest

LONGEST_MS: Final = 5_000
"""Well below the time after which a request counts as lost (``ops.kafka.connection``)."""
_OWN_CONNECTION = "fetch"
_QUIET_SECONDS = 0.5
"""Under a light load fetches gather as they do under any."""
_FIRST_RECORD_BYTES = 1
_GATHER_SECONDS = 0.02
"""After the first record, where fetches gather: what comes with it need not be fetched by itself, and who wrote it is answered before
its reader takes up a core (7 ms sooner on two busy ones). It is less than a fetch gathers on average while records come."""


def wait_ms(quiet_seconds: float, shortest_ms: int, longest_ms: int) -> int:
    """How long a fetch may wait: as configured while records come, then as long again as none came."""
    if quiet_seconds < _QUIET_SECONDS:
        return shortest_ms
    return max(shortest_ms, min(round(1000 * quiet_seconds), longest_ms))


class LongPoll:
    """Decides how long each fetch of a consumer waits. Installed on a consumer that is not started yet; used in its loop only."""

    def __init__(
        self, consumer: AIOKafkaConsumer, *, longest_ms: int = LONGEST_MS, on_failure: Callable[[], object] = lambda: None
    ) -> None:
        """``on_failure`` is called when a fetch was not answered, or with an error for a partition."""
        self._on_failure = on_failure
        self._consumer = consumer
        self._client = consumer._client
        self._send = self._client.send
        self._client.send = self.send
        self._shortest_ms: int = consumer._fetch_max_wait_ms
        self._longest_ms = longest_ms
        self._active_at: dict[int, float] = {}
        """When each node had something to answer, or failed to."""
        self._waiting: set[asyncio.Future[None]] = set()

    def interrupt(self) -> None:
        """End the fetches that wait, so that the next ones are of the partitions as they are now."""
        for interrupted in self._waiting:
            if not interrupted.done():
                interrupted.set_result(None)

    async def send(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """In place of the client's own ``send``. Raises what that raises."""
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, group=group)
        now = asyncio.get_running_loop().time
        wait = wait_ms(now() - self._active_at.setdefault(node_id, now()), self._shortest_ms, self._longest_ms)
        is_long = wait > self._shortest_ms and not self._consumer._fetcher._records
        try:
            if is_long:
                response = await self._poll(node_id, _patient(request, wait))
            else:
                response = await self._send(node_id, request, group=_OWN_CONNECTION)
        except KafkaError:
            self._active_at[node_id] = now()
            self._on_failure()
            raise
        if self._tells_something(response):
            self._active_at[node_id] = now()
            if is_long and request._min_bytes > _FIRST_RECORD_BYTES:
                await asyncio.sleep(_GATHER_SECONDS)
        return response

    def _tells_something(self, response: Any) -> bool:
        """Records or an error, after which fetches are short again, too."""
        partitions = [partition for _topic, partitions in response.topics for partition in partitions]
        has_error = any(error_code for _number, error_code, *_rest in partitions)
        if has_error:
            self._on_failure()
        return has_error or any(partition[-1] for partition in partitions)

    async def _poll(self, node_id: int, request: FetchRequest) -> Any:
        """The broker's response, or one that tells nothing when it was interrupted."""
        answer = asyncio.ensure_future(self._send(node_id, request, group=_OWN_CONNECTION))
        with self._interruptible() as interrupted:
            try:
                await asyncio.wait({answer, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not answer.done():
                    await self._hang_up(node_id, answer)
        return _Nothing if answer.cancelled() else answer.result()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[asyncio.Future[None]]:
        interrupted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(interrupted)
        try:
            yield interrupted
        finally:
            self._waiting.discard(interrupted)

    async def _hang_up(self, node_id: int, answer: asyncio.Future[Any]) -> None:
        """Else the next fetch would be answered after this one."""
        answer.cancel()
        try:
            await asyncio.wait({answer})
        finally:
            connection = self._client._conns.pop((node_id, _OWN_CONNECTION), None)
            if connection is not None:
                connection.close()


class _Nothing:
    """A response that tells of no partition."""

    API_VERSION = FetchRequest._CLASSES[-1].API_VERSION
    topics: tuple[Any, ...] = ()


def _patient(request: FetchRequest, wait_ms: int) -> FetchRequest:
    return FetchRequest(wait_ms, _FIRST_RECORD_BYTES, request._max_bytes, request._isolation_level, request._topics, request._rack_id)
