"""Names to addresses, by the machine's own resolver, on threads that nothing else waits for."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

_THREADS = 64
"""A name whose servers are silent holds a thread for as long as the system's resolver tries; the rest go on by the others."""


class Resolver(AbstractResolver):
    """``getaddrinfo`` with an end: names are customers' choice, and so are the servers that answer for them."""

    def __init__(self, timeout: float) -> None:
        """Nobody waits longer than that, in seconds."""
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, "resolver")

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The host's addresses, in the system's order. Raises ``OSError``."""
        looked_up = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port, family)
        try:
            return await asyncio.wait_for(looked_up, self._timeout)
        except TimeoutError:
            raise OSError("the name's servers are silent") from None

    async def close(self) -> None:
        """Let go of the threads; look-ups under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that no name can have
        raise OSError("not a name") from None
    return [
        ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=0)
        for kind, _, protocol, _, address in found
    ]
