"""Names to addresses, with an end."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ops import resolving
from ops.resolving import Resolver
from tests.support.files import no_files_left

ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]


class Servers:
    """Silent name servers, until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.talk = threading.Event()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        self.talk.wait()
        return ANSWER


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Servers]:
    made = Servers()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.talk.set()


async def test_knows_what_the_machine_knows() -> None:
    resolver = Resolver(5)
    found = await resolver.resolve("localhost", 80, socket.AF_INET)
    assert {(each["host"], each["port"], each["family"]) for each in found} == {("127.0.0.1", 80, socket.AF_INET)}
    await resolver.close()


@pytest.mark.parametrize("name", ["x" * 64 + ".example", "no-such-name.invalid"])
async def test_what_is_no_name_or_nobodys_is_an_oserror(name: str) -> None:
    resolver = Resolver(5)
    with pytest.raises(OSError, match=r"name|Name|resolution"):
        await resolver.resolve(name)
    await resolver.close()


async def test_silence_has_an_end_and_holds_one_thread_a_name(servers: Servers) -> None:
    resolver = Resolver(0.01)
    for _ in range(3):
        with pytest.raises(OSError, match="silent"):
            await resolver.resolve("silent.example", 443)
    assert servers.asked == ["silent.example"]
    servers.talk.set()
    assert (await Resolver(5).resolve("other.example", 443))[0]["host"] == "93.184.216.34"
    await resolver.close()


async def test_who_asks_at_the_same_time_gets_the_same_answer(servers: Servers) -> None:
    resolver = Resolver(5)
    asking = [asyncio.create_task(resolver.resolve("busy.example", 443)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    servers.talk.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(answer == answers[1] for answer in answers[2:])
    assert servers.asked == ["busy.example"]
    await resolver.resolve("busy.example", 443)
    assert len(servers.asked) == 2
    await resolver.close()


async def test_one_name_too_many_waits_for_a_thread(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "_THREADS", 2)
    resolver = Resolver(5)
    asking = [asyncio.create_task(resolver.resolve(f"{name}.example", 443)) for name in "abc"]
    while len(servers.asked) < 2:
        await asyncio.sleep(0)
    servers.talk.set()
    await asyncio.gather(*asking)
    assert len(servers.asked) == 3


async def test_closing_waits_for_nobody(servers: Servers) -> None:
    resolver = Resolver(5)
    asking = asyncio.create_task(resolver.resolve("silent.example", 443))
    while not servers.asked:
        await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def until(servers: Servers, asked: int) -> None:
    while len(servers.asked) < asked:
        await asyncio.sleep(0)


async def gathered(resolver: Resolver, *names: str) -> list[Any]:
    return await asyncio.gather(*(resolver.resolve(name, 443) for name in names), return_exceptions=True)


@pytest.mark.parametrize("domain", ["enemy.example", "enemy.co.uk"])
async def test_a_domains_silent_names_leave_threads_for_the_others(servers: Servers, monkeypatch: pytest.MonkeyPatch, domain: str) -> None:
    """Whoever owns a domain has as many names below it as he likes."""
    monkeypatch.setattr(resolving, "_THREADS", 3)
    monkeypatch.setattr(resolving, "_THREADS_A_DOMAIN", 2)
    resolver = Resolver(0.05)
    silent = await gathered(resolver, *(f"{name}.of.{domain}" for name in "abcd"))
    assert [(type(each), each.errno) for each in silent] == [(OSError, None)] * 4
    assert len(servers.asked) == 2
    other = asyncio.create_task(resolver.resolve(f"a.other.{domain.partition('.')[2]}", 443))
    await until(servers, 3)
    servers.talk.set()
    assert await other
    await resolver.close()


async def test_a_wait_for_a_thread_is_this_machines_fault_and_ends_with_who_waited(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_THREADS", 1)
    resolver = Resolver(0.05)
    first, second = await gathered(resolver, "a.example", "b.example")
    assert (first.errno, second.errno) == (None, errno.EAGAIN)
    while len(resolver._under_way) > 1:
        await asyncio.sleep(0)
    servers.talk.set()
    assert await resolver.resolve("c.example", 443)
    assert servers.asked == ["a.example", "c.example"]
    await resolver.close()


async def test_no_thread_to_start_is_this_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="thread") as refused:
        await Resolver(5).resolve("localhost", 80)
    assert refused.value.errno == errno.EAGAIN


async def test_no_file_to_ask_by_is_this_machines_fault() -> None:
    """The system's resolver says that the name failed."""
    with no_files_left(), pytest.raises(OSError, match="files") as refused:
        await Resolver(5).resolve("no-such-name.invalid", 80)
    assert refused.value.errno == errno.EMFILE
