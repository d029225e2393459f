"""Receivers that send without end: each costs a moment of its own request, not the loop nor the memory of all the others."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp.client_proto import ResponseHandler

from ops import answers
from ops.addresses import exemption
from ops.egress import Answer, Cut, Egress, Policy
from tests.support.receiving import Behaviour, Receiver, answering, receiving

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 103 E\r\n\r\n"
FLOODS = {
    "interim answers": (b"", INTERIM),
    "an extension of a chunk": (CHUNKED + b"1;", b"a"),
    "extensions of chunks": (CHUNKED, b"1;" + b"a" * 999 + b"\r\nb\r\n"),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n"),
    "a head": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
}
SECONDS = 10.0


def pouring(begin: bytes, again: bytes) -> Behaviour:
    """Write the one and then the other until nobody takes it any more."""

    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        block = again * ((64 << 10) // len(again))
        while True:
            writer.write(block)
            await writer.drain()

    return pour


@asynccontextmanager
async def egress_to(behaviour: Behaviour) -> AsyncIterator[tuple[Egress, Receiver]]:
    async with receiving(behaviour) as receiver, Egress(Policy((exemption(f"127.0.0.1:{receiver.port}"),), (443,))) as egress:
        yield egress, receiver


async def post_to(behaviour: Behaviour) -> Answer:
    async with egress_to(behaviour) as (egress, receiver):
        return await egress.post(receiver.url(), b"{}", {}, SECONDS)


def in_production(work: Coroutine[Any, Any, Answer]) -> Answer:
    """On the loop that runs there: how much it reads at once is its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_before_it_takes_time(flood: str) -> None:
    """Time of this process alone, so that others' load is none of it."""
    began = time.process_time()
    with pytest.raises(Cut):
        in_production(post_to(pouring(*FLOODS[flood])))
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_before_it_takes_memory(flood: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Cut):
            in_production(post_to(pouring(*FLOODS[flood])))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_flood_behind_the_answer_costs_its_connection_only() -> None:
    """The answer is one: what follows it belongs to no request, and is not parsed for ever."""

    async def twice() -> Answer:
        async with egress_to(pouring(b"", b"HTTP/1.1 204 E\r\n\r\n")) as (egress, receiver):
            both = [await egress.post(receiver.url(), b"{}", {}, SECONDS) for _ in range(2)]
            await receiver.closed.wait()
            assert receiver.connections == 2
            return both[1]

    began = time.process_time()
    assert in_production(twice()) == Answer(204, None)
    assert time.process_time() - began < 1.0


async def test_a_flood_on_a_kept_connection_is_not_asked_for_again() -> None:
    """A kept connection that is lost is a reason to send once more; one that was cut is none."""
    behaviours = [answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), pouring(*FLOODS["interim answers"])]

    async def in_turn(writer: asyncio.StreamWriter) -> None:
        await behaviours.pop(0)(writer)

    async with egress_to(in_turn) as (egress, receiver):
        assert await egress.post(receiver.url(), b"{}", {}, SECONDS) == Answer(200, None)
        with pytest.raises(Cut):
            await egress.post(receiver.url(), b"{}", {}, SECONDS)
        assert (receiver.connections, len(receiver.requests)) == (1, 2)


@pytest.mark.parametrize(
    "answer",
    [
        INTERIM * answers._MAX_HEADS + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        CHUNKED + b"10;sealed=yes\r\n0123456789abcdef\r\n" * 4096 + b"0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n" + b"X: 0123456789abcdef\r\n" * 100 + b"\r\n" + bytes(65536),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + bytes(9999999),
    ],
    ids=["interim", "chunked", "whole", "longer than is read"],
)
def test_an_answer_in_earnest_is_taken(answer: bytes) -> None:
    assert in_production(post_to(answering(answer))) == Answer(200, None)


async def test_bounds_hold_for_each_request_anew() -> None:
    """A connection may be kept for thousands of them."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + bytes(65536)
    async with egress_to(answering(INTERIM * 9 + whole)) as (egress, receiver):
        for _ in range(9):
            assert await egress.post(receiver.url(), b"{}", {}, SECONDS) == Answer(200, None)
        assert receiver.connections == 1


async def test_aiohttp_still_is_what_the_bounds_rest_on() -> None:
    """A release that moves one of these leaves the floods unbounded, or ends in an exception nobody expects."""
    async with aiohttp.TCPConnector() as connector:
        made = connector._factory()
        assert type(made) is ResponseHandler
        answers.bound(connector)
        bounded = connector._factory()
    assert isinstance(bounded, ResponseHandler)
    assert type(bounded) is not ResponseHandler
    assert (bounded._payload, bounded.exception(), bounded.transport) == (None, None, None)
    for hook in ("set_response_params", "data_received", "feed_data", "set_exception", "abort"):
        assert callable(getattr(ResponseHandler, hook))
