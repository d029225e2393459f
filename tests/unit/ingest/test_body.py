"""Bodies are read and unpacked within their limits, whatever a client sends and however slowly."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.body import JSON, NDJSON, BodyRules, Disconnected, media_type, read
from schemas.problems import PayloadTooLarge, Problem, RequestTimeout, UnsupportedMediaType, ValidationFailed

LIMIT = 1000
RULES = BodyRules(LIMIT, (JSON, NDJSON))
Message = dict[str, Any]


def zstd(data: bytes, *, sized: bool = True, window_log: int = 17) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log, write_content_size=sized)
    if sized:
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(data) + packer.flush()


def unsized(data: bytes) -> bytes:
    """A frame that does not say how large its content is."""
    return zstd(data, sized=False)


PACKERS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"zstd": zstd}
ALL_PACKERS = [(b"gzip", gzip.compress), (b"zstd", zstd), (b"zstd", unsized)]


def receiver(*pieces: bytes, late: bool = False) -> Callable[[], Any]:
    """An ASGI ``receive`` of these pieces; with ``late``, each comes in a later turn of the loop."""
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1} for number, piece in enumerate(pieces)
    ]

    async def receive() -> Message:
        if late:
            await asyncio.sleep(0)
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


async def body_of(*pieces: bytes, coding: bytes | None = None, late: bool = False) -> bytes:
    headers = {} if coding is None else {b"content-encoding": coding}
    return await read(receiver(*pieces, late=late), headers, RULES, 5.0)


async def refusal(*pieces: bytes, coding: bytes | None = None) -> type[Problem]:
    with pytest.raises(Problem) as refused:
        await body_of(*pieces, coding=coding)
    return type(refused.value)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("pieces", [(b"",), (b"{}",), (b"a", b"", b"bc"), (b"x" * LIMIT,), (b"x" * (LIMIT - 1), b"y")])
async def test_pieces_are_put_together(pieces: tuple[bytes, ...], late: bool) -> None:
    assert await body_of(*pieces, late=late) == b"".join(pieces)


@pytest.mark.parametrize("pieces", [(b"x" * (LIMIT + 1),), (b"x" * LIMIT, b"y"), (b"x",) * (LIMIT + 1)])
async def test_one_byte_above_the_limit_is_too_large(pieces: tuple[bytes, ...]) -> None:
    assert await refusal(*pieces) is PayloadTooLarge


async def test_a_body_announced_too_large_is_not_even_read() -> None:
    async def receive() -> Message:
        raise AssertionError("nothing should be read")

    with pytest.raises(PayloadTooLarge):
        await read(receive, {b"content-length": b"1001"}, RULES, 5.0)


@pytest.mark.parametrize(("coding", "pack"), ALL_PACKERS)
@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
async def test_packed_bodies_are_unpacked_up_to_the_limit(coding: bytes, pack: Callable[[bytes], bytes], size: int) -> None:
    plain = bytes(size)
    assert await body_of(pack(plain), coding=coding) == plain


@pytest.mark.parametrize(("coding", "pack"), ALL_PACKERS)
@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 70_000, 50_000_000])
async def test_bombs_are_too_large(coding: bytes, pack: Callable[[bytes], bytes], size: int) -> None:
    """And unpacking stops at the limit: zstd's own frame of 50 MB of zeros is 1.6 KB, so here they come as what the limit admits."""
    packed = pack(bytes(size))
    rules = BodyRules(max(LIMIT, len(packed)), RULES.media_types)
    with pytest.raises(PayloadTooLarge):
        await read(receiver(packed), {b"content-encoding": coding}, rules, 5.0)


@pytest.mark.parametrize(("coding", "pack"), ALL_PACKERS)
async def test_a_body_cut_short_is_invalid(coding: bytes, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(os.urandom(500))
    for end in range(len(packed)):
        assert await refusal(packed[:end], coding=coding) is ValidationFailed


@pytest.mark.parametrize(("coding", "pack"), ALL_PACKERS)
@pytest.mark.parametrize("more", [b"x", b"\0", b"\n", b"{}"])
async def test_trailing_bytes_are_invalid(coding: bytes, pack: Callable[[bytes], bytes], more: bytes) -> None:
    assert await refusal(pack(b"{}") + more, coding=coding) is ValidationFailed


@pytest.mark.parametrize(("coding", "pack"), ALL_PACKERS)
async def test_two_members_are_invalid(coding: bytes, pack: Callable[[bytes], bytes]) -> None:
    """Parsers differ on whether the second counts: that is how two systems come to see different events."""
    assert await refusal(pack(b"{}") * 2, coding=coding) is ValidationFailed


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", b"{}"),
        (b"gzip", zlib.compress(b"{}")),
        (b"gzip", zstd(b"{}")),
        (b"gzip", gzip.compress(b"{}", mtime=0)[:-8] + bytes(8)),
        (b"zstd", b"{}"),
        (b"zstd", gzip.compress(b"{}", mtime=0)),
        (b"zstd", b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstd(b"{}")),
        (b"zstd", b"\x28\xb5\x2f\xfd"),
    ],
)
async def test_what_is_of_another_coding_is_invalid(coding: bytes, body: bytes) -> None:
    assert await refusal(body, coding=coding) is ValidationFailed


async def test_a_zstd_window_may_be_8_mib_and_no_more() -> None:
    """The window is what unpacking takes in memory, whatever the body's size."""
    assert await body_of(zstd(b"{}", sized=False, window_log=23), coding=b"zstd") == b"{}"
    assert await refusal(zstd(b"{}", sized=False, window_log=24), coding=b"zstd") is ValidationFailed


@pytest.mark.parametrize("coding", [b"br", b"deflate", b"gzip, gzip", b"gzip,zstd", b"x-gzip", b"*", b""])
async def test_other_codings_are_not_supported(coding: bytes) -> None:
    assert await refusal(b"{}", coding=coding) is UnsupportedMediaType


@pytest.mark.parametrize("coding", [b"identity", b"GZIP", b" gzip "])
async def test_codings_are_case_insensitive(coding: bytes) -> None:
    packed = gzip.compress(b"{}") if b"g" in coding.lower() else b"{}"
    assert await body_of(packed, coding=coding) == b"{}"


@given(st.binary(max_size=80), st.sampled_from([b"gzip", b"zstd"]), st.booleans(), st.data())
@settings(max_examples=300)
def test_garbage_is_refused_or_unpacked(garbage: bytes, coding: bytes, spoil: bool, data: st.DataObject) -> None:
    packed = PACKERS[coding](garbage) if spoil else garbage
    at = data.draw(st.integers(0, len(packed)))
    spoilt = packed[:at] + data.draw(st.binary(max_size=4)) + packed[at + data.draw(st.integers(0, 4)) :]
    try:
        assert len(asyncio.run(body_of(spoilt, coding=coding))) <= LIMIT
    except (ValidationFailed, PayloadTooLarge):
        return


async def test_a_client_that_goes_away_is_told_nothing() -> None:
    with pytest.raises(Disconnected):
        await body_of()


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_body_that_does_not_come_is_given_up() -> None:
    with pytest.raises(RequestTimeout):
        await read(never, {}, RULES, 0.01)


async def test_a_body_that_stops_coming_is_given_up() -> None:
    first = receiver(b"x", b"y")

    async def receive() -> Message:
        message: Message = await first()
        return message if message["body"] == b"x" else await never()

    with pytest.raises(RequestTimeout):
        await read(receive, {}, RULES, 0.01)


async def test_a_body_that_only_drips_is_given_up() -> None:
    """Each piece comes in time, but at this rate the connection would be held for hours."""

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(RequestTimeout):
        async with asyncio.timeout(5):
            await read(receive, {}, RULES, 0.1)


async def test_giving_up_and_cancelling_reach_the_server() -> None:
    """The server must not go on waiting for a body whose request is over."""
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        waiting.set()
        try:
            return await never()
        finally:
            ended.set()

    reading = asyncio.create_task(read(receive, {}, RULES, 60))
    await waiting.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert ended.is_set()


async def test_what_the_server_raises_is_passed_on() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await read(receive, {}, RULES, 5.0)


@pytest.mark.parametrize(
    "header",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
        b"application/json ; profile=x ; charset=UTF-8",
        b"application/json; charset=utf-8; profile=x",
        b"application/json;",
    ],
)
def test_good_content_types(header: bytes) -> None:
    assert media_type(header, RULES) == JSON


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"text/plain",
        b"application/jsonx",
        b"application/x-www-form-urlencoded",
        b"application/json, application/json",
        b"application/json; charset=latin-1",
        b"application/json; charset=utf-16",
        b"application/json; profile=x; charset=latin-1",
        b"application/json;\tcharset=latin-1",
        b"application/json; charset=",
        b"\xff\xfe",
    ],
)
def test_other_content_types(header: bytes | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        media_type(header, RULES)


def test_a_route_takes_its_own_types_only() -> None:
    assert media_type(b"application/x-ndjson", RULES) == NDJSON
    with pytest.raises(UnsupportedMediaType):
        media_type(b"application/x-ndjson", BodyRules(LIMIT, (JSON,)))
