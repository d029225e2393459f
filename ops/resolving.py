"""Names to addresses, by the machine's own resolver, on threads that nothing else waits for."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from contextlib import AsyncExitStack, suppress
from functools import partial
from threading import Thread
from typing import TypeAlias
from weakref import WeakValueDictionary

from aiohttp.abc import AbstractResolver, ResolveResult

# A name whose servers are silent holds one for as long as the system's resolver tries, 10 to 30 s; the other names go on by the rest.
_THREADS = 512
# Of them a domain's: whoever owns one answers, or is silent, for as many names below it as he likes.
_THREADS_A_DOMAIN = 32
# Two labels, or three where the last is a country's and the one before it is its register's: co.uk, com.br, or.jp.
_DOMAIN = re.compile(r"[^.]+\.(?:[^.]{2,3}\.[^.]{2}|[^.]+)\Z").search
_Question: TypeAlias = tuple[str, int, socket.AddressFamily]


class _LookUp:
    """One question under way, however many wait for its answer."""

    def __init__(self, question: _Question) -> None:
        self.question = question
        self.lacks_thread = False
        self.answer: asyncio.Task[list[ResolveResult]]


class Resolver(AbstractResolver):
    """``getaddrinfo`` with an end: names are customers' choice, and so are the servers that answer for them."""

    def __init__(self, timeout: float) -> None:
        """Nobody waits longer than that, in seconds."""
        self._timeout = timeout
        self._threads = asyncio.Semaphore(_THREADS)
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._under_way: dict[_Question, _LookUp] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The host's addresses, in the system's order. Raises ``OSError``: EAGAIN, EMFILE or ENFILE when it is this machine's fault."""
        look_up = self._under_way.get((host, port, family)) or self._begin((host, port, family))
        try:
            # Shielded: a look-up can't be stopped, and who asks again must find it instead of taking another thread.
            return await asyncio.wait_for(asyncio.shield(look_up.answer), self._timeout)
        except TimeoutError:
            if look_up.lacks_thread:
                raise OSError(errno.EAGAIN, "no thread is free for the name") from None
            raise OSError("the name's servers are silent") from None

    async def close(self) -> None:
        """Wait for nobody: look-ups under way end by themselves, or with the process."""
        for look_up in self._under_way.values():
            look_up.answer.cancel()

    def _begin(self, question: _Question) -> _LookUp:
        begun = self._under_way[question] = _LookUp(question)
        begun.answer = asyncio.create_task(self._ask(begun))
        begun.answer.add_done_callback(partial(self._end, question))
        return begun

    async def _ask(self, look_up: _LookUp) -> list[ResolveResult]:
        async with AsyncExitStack() as held:
            async with asyncio.timeout(self._timeout):  # nobody may wait any longer: then it is not to take a thread
                await held.enter_async_context(self._share(look_up.question[0]))
                look_up.lacks_thread = True
                await held.enter_async_context(self._threads)
                look_up.lacks_thread = False
            return await _in_a_thread(look_up.question)

    def _share(self, host: str) -> asyncio.Semaphore:
        """Of the host's domain; there for as long as somebody holds it."""
        found = _DOMAIN(host.lower())
        return self._shares.setdefault(found[0] if found else host, asyncio.Semaphore(_THREADS_A_DOMAIN))

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

    try:
        Thread(target=run, name="resolver", daemon=True).start()
    except RuntimeError:
        raise OSError(errno.EAGAIN, "no thread can be started") from None
    return await found


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult] | OSError:
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError:
        return OSError("no name has such a label")
    except OSError as error:
        return _out_of_files() or error
    return [
        ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=0)
        for kind, _, protocol, _, address in found
    ]


def _out_of_files() -> OSError | None:
    """Why a look-up failed, if so: the system's resolver tells it as a failure of the name."""
    try:
        socket.socket().close()
    except OSError as error:
        return error
    return None
