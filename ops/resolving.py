"""Names to addresses, by the machine's own resolver, on threads that nothing else waits for."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

# A name whose servers are silent holds one for as long as the system's resolver tries; the other names go on by the rest.
_THREADS = 64
_Question: TypeAlias = tuple[str, int, socket.AddressFamily]


class Resolver(AbstractResolver):
    """``getaddrinfo`` with an end: names are customers' choice, and so are the servers that answer for them."""

    def __init__(self, timeout: float) -> None:
        """Nobody waits longer than that, in seconds."""
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, "resolver")
        self._under_way: dict[_Question, asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The host's addresses, in the system's order. Raises ``OSError``."""
        question = (host, port, family)
        under_way = self._under_way.get(question)
        if under_way is None:
            under_way = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, *question)
            under_way.add_done_callback(partial(self._end, question))
            self._under_way[question] = under_way
        try:
            # Shielded: a thread can't be stopped, and who asks again must find it instead of taking another.
            return await asyncio.wait_for(asyncio.shield(under_way), self._timeout)
        except TimeoutError:
            raise OSError("the name's servers are silent") from None

    async def close(self) -> None:
        """Let go of the threads; look-ups under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _end(self, question: _Question, looked_up: asyncio.Future[list[ResolveResult]]) -> None:
        del self._under_way[question]
        if not looked_up.cancelled():
            looked_up.exception()  # nobody may be waiting for it any more


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that no name can have
        raise OSError("not a name") from None
    return [
        ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=0)
        for kind, _, protocol, _, address in found
    ]
