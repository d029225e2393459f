"""A tail outlives its connections and knows when to give up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import aiohttp
import pytest

from ops.client import Access, Refused
from ops.tail.stream import TIMEOUT, Batch, Source, Tail
from tests.support.sse import Connection, SseServer, frame, problem, sse_server

AT_ONCE = b"retry: 0\n\n"


async def tailed(
    server: SseServer, until: str, *, said: list[str] | None = None, position: str = "", since: str | None = None
) -> list[Batch]:
    """What a tail tells until it has reached that position."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        say = list[str]() if said is None else said
        tail = Tail(
            session, Source(Access(server.url, "a-key"), {"action": "user.*"}), say.append, position=position, since=since, wait_seconds=0.0
        )
        found = []
        async with asyncio.timeout(10), aclosing(tail.batches()) as batches:
            async for batch in batches:
                found.append(batch)
                if batch.position == until:
                    return found
    raise AssertionError("a tail has no end")


async def _first(tail: Tail) -> Batch:
    return await anext(tail.batches())


def data(batches: Sequence[Batch]) -> list[str]:
    return [message.data for batch in batches for message in batch.messages]


async def test_each_connection_goes_on_where_the_one_before_it_ended() -> None:
    """Whether that ended as it should, in the middle of a message, or with a refusal that passes."""
    script = (
        Connection(AT_ONCE + frame("1", b'"a"')),
        Connection(frame("2", b'"b"') + b"id: 3\ndata: half", then="break"),
        problem(503, "Not now"),
        Connection(frame("3", b'"c"'), then="hold"),
    )
    async with sse_server(*script) as server:
        assert data(await tailed(server, until="3")) == ['"a"', '"b"', '"c"']
        assert [headers.get("last-event-id") for _, headers in server.asked] == [None, "1", "2", "2"]
        assert {headers["authorization"] for _, headers in server.asked} == {"Bearer a-key"}
        assert {query["action"] for query, _ in server.asked} == {"user.*"}


async def test_the_past_is_asked_for_until_there_is_a_position() -> None:
    async with sse_server(Connection(AT_ONCE), Connection(frame("1", b"1")), Connection(frame("2", b"2"))) as server:
        await tailed(server, until="2", since="2026-01-01T00:00:00Z")
        assert [query.get("since") for query, _ in server.asked] == ["2026-01-01T00:00:00Z"] * 2 + [None]


async def test_it_begins_where_it_is_told_to() -> None:
    async with sse_server(Connection(frame("8", b"8"))) as server:
        await tailed(server, until="8", position="7")
        assert server.asked[0][1]["last-event-id"] == "7"


async def test_a_position_moves_without_messages_too() -> None:
    async with sse_server(Connection(AT_ONCE + b":\nid: 5\n\n", then="break"), Connection(frame("6", b"6"))) as server:
        assert [batch.position for batch in await tailed(server, until="6")] == ["5", "6"]
        assert server.asked[1][1]["last-event-id"] == "5"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_what_will_be_refused_again_is_told_and_not_asked_again(status: int) -> None:
    refusal = problem(status, "No", {"field": "outcome", "message": "is not one of them"}, Location="http://elsewhere.example/")
    async with sse_server(refusal) as server:
        with pytest.raises(Refused, match=rf"{status} .*: No; outcome: is not one of them"):
            await tailed(server, until="never")
        assert len(server.asked) == 1


async def test_an_answer_that_is_no_tail_is_told() -> None:
    """Another service may listen there, which will be there the next time too."""
    async with sse_server(Connection(b"<html>", headers={"Content-Type": "text/html"})) as server:
        with pytest.raises(Refused, match="no answer of HyreLog's"):
            await tailed(server, until="never")


async def test_the_server_says_how_long_to_wait() -> None:
    said: list[str] = []
    async with sse_server(problem(429, "Too many tails", **{"Retry-After": "1"}), Connection(frame("1", b"1"))) as server:
        began = asyncio.get_running_loop().time()
        await tailed(server, until="1", said=said)
        assert asyncio.get_running_loop().time() - began >= 1
    assert said == ["429 Too Many Requests: Too many tails: trying again in 1 s", "connected again"]


async def test_pauses_grow_while_nothing_works_and_only_then() -> None:
    said: list[str] = []
    script = (
        Connection(b"retry: 20\n\n", then="break"),
        *[problem(500, "Oh")] * 3,
        Connection(frame("1", b"1")),
        Connection(frame("2", b"2")),
    )
    async with sse_server(*script) as server:
        await tailed(server, until="2", said=said)
    assert len(said) == 5, "the break, three refusals, and that it is connected again; not the end of a stream"


async def test_a_server_that_is_not_there_is_waited_for() -> None:
    said: list[str] = []
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session, asyncio.TaskGroup() as group:
        tail = Tail(session, Source(Access("http://127.0.0.1:1", "a-key")), said.append, wait_seconds=0.001)
        reading = group.create_task(_first(tail))
        async with asyncio.timeout(10):
            while len(said) < 3:
                await asyncio.sleep(0.01)
        reading.cancel()
    assert all(each.startswith("connection lost (Cannot connect to host 127.0.0.1:1") for each in said)
