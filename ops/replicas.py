"""Whether the limits that this process counts hold: not when other processes serve beside it and each counts alone."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

import psutil

from ops import log
from ops.db import is_unavailable
from ops.shared_limits import SharedLimits

Notices = Callable[[], list[str]]
"""Tells what does not stop the process from serving, and still is not as it should be."""
_LOOK_SECONDS = 30.0
_TOKEN_DIGITS = 8
_ALONE = "rate limits: {} processes serve and each counts alone, set RATE_LIMIT_STORE_URL"
_LOG = log.get(__name__)


def process_name(service: str) -> str:
    """The service with a token of this process, the same for all its apps: under this name its database connections run."""
    process = psutil.Process(os.getpid())
    token = sha256(f"{socket.gethostname()} {process.pid} {process.create_time()}".encode()).hexdigest()
    return f"{service} {token[:_TOKEN_DIGITS]}"


class Processes(Protocol):
    """Where the other processes are seen: Postgres, or a fake."""

    async def count(self) -> int:
        """How many processes serve requests now, this one included. Raises what ``db.is_unavailable`` knows."""
        ...


class Replicas:
    """Looks now and then for other processes, when there is no store in which to count with them."""

    def __init__(self, processes: Processes, shared: SharedLimits | None) -> None:
        self._processes = processes
        self._shared = shared
        self._others = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._shared is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def notices(self) -> list[str]:
        """What /internal/health says of it; empty when limits hold."""
        if self._shared is not None:
            return ["rate limits: RATE_LIMIT_STORE_URL can't be reached, each process counts alone"] if self._shared.away else []
        return [_ALONE.format(self._others + 1)] if self._others else []

    async def look(self) -> None:
        """Look once."""
        others = await self._processes.count() - 1
        if others > 0 and not self._others:
            _LOG.warning(_ALONE.format(others + 1))
        self._others = max(0, others)

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may work
                if not is_unavailable(error):
                    _LOG.exception("other processes are not seen")
            await asyncio.sleep(_LOOK_SECONDS)
