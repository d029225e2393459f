"""PostgreSQL's notifications, over a connection of their own that is made anew whenever it is lost.

One that went silent is not noticed, nor is what was notified meanwhile: whoever listens looks by himself now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ops import failures, log
from ops.db import Pool, is_unavailable

_LOG = log.get(__name__)
_CONNECT_SECONDS = 5.0
_PAUSE_SECONDS = 1.0


class Listener:
    """Calls back for each notification on a channel."""

    def __init__(self, pool: Pool, channel: str, on_notification: Callable[[], object]) -> None:
        """One connection of the pool is this one's. ``on_notification`` is also called when listening begins: some may have been missed."""
        self._pool = pool
        self._channel = channel
        self._on_notification = on_notification
        self.is_listening = False
        """Whether notifications come, as far as is known."""

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody but this task makes another connection
                if not is_unavailable(error):
                    _LOG.error("not listening", channel=self._channel, error=failures.summary(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        """Until the connection is lost."""
        async with self._pool.acquire(timeout=_CONNECT_SECONDS) as connection:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _connection: lost.set())
            try:
                await connection.add_listener(self._channel, self._notified)
                self.is_listening = True
                self._on_notification()
                await lost.wait()
            finally:
                self.is_listening = False
                connection.terminate()  # given back, it would listen on

    def _notified(self, *_notification: object) -> None:
        self._on_notification()
