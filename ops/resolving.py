"""Names to addresses, by the machine's own resolver, on threads that nothing else waits for."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from threading import Thread
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
        self._threads = asyncio.Semaphore(_THREADS)
        self._under_way: dict[_Question, asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The host's addresses, in the system's order. Raises ``OSError``."""
        question = (host, port, family)
        under_way = self._under_way.get(question)
        if under_way is None:
            under_way = self._under_way[question] = asyncio.create_task(self._ask(question))
            under_way.add_done_callback(partial(self._end, question))
        try:
            # Shielded: a look-up can't be stopped, and who asks again must find it instead of taking another thread.
            return await asyncio.wait_for(asyncio.shield(under_way), self._timeout)
        except TimeoutError:
            raise OSError("the name's servers are silent") from None

    async def close(self) -> None:
        """Wait for nobody: look-ups under way end by themselves, or with the process."""
        for under_way in self._under_way.values():
            under_way.cancel()

    async def _ask(self, question: _Question) -> list[ResolveResult]:
        async with self._threads:
            return await _in_a_thread(question)

    def _end(self, question: _Question, looked_up: asyncio.Task[list[ResolveResult]]) -> None:
        del self._under_way[question]
        if not looked_up.cancelled():
            looked_up.exception()  # nobody may be waiting for it any more


async def _in_a_thread(question: _Question) -> list[ResolveResult]:
    """A daemon's: those of an executor are joined when the process ends, and a look-up may take half a minute."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[ResolveResult]] = loop.create_future()

    def tell(result: list[ResolveResult] | OSError) -> None:
        if found.done():
            return
        if isinstance(result, OSError):
            found.set_exception(result)
        else:
            found.set_result(result)

    def run() -> None:
        result = _look_up(*question)
        with suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(tell, result)

    Thread(target=run, name="resolver", daemon=True).start()
    return await found


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult] | OSError:
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError:
        return OSError("no name has such a label")
    except OSError as error:
        return error
    return [
        ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=0)
        for kind, _, protocol, _, address in found
    ]
