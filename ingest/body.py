"""Request bodies: read within their limits of size and time, unpacked within them too (contract §2, "Ingest")."""

from __future__ import annotations

import asyncio
import types
import zlib
from collections.abc import Coroutine, Generator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import zstandard

from schemas.problems import PayloadTooLarge as TooLarge
from schemas.problems import Problem, RequestTimeout, UnsupportedMediaType, invalid

if TYPE_CHECKING:
    from starlette.types import Message, Receive

_GZIP_WINDOW = 31
_SLOWEST = 1024
_ZSTD_WINDOW = 8 << 20
# Four bytes can stand for 128 KiB: a step unpacks to 16 MiB at most, and only one does so at a time.
_ZSTD_STEP = 512
_NO_SIZE = (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR)
_ONE_FRAME = "the body must be exactly one complete zstd frame"
JSON, NDJSON = "application/json", "application/x-ndjson"


class Disconnected(Exception):
    """The client went away before its request was complete."""


class BodyRules(NamedTuple):
    """What a route takes: the limit for the body as sent and unpacked, in bytes, and its media types."""

    limit: int
    media_types: tuple[str, ...]


def media_type(header: bytes | None, rules: BodyRules) -> str:
    """The media type of a ``Content-Type``. Raises ``UnsupportedMediaType`` unless the route takes it, in UTF-8."""
    name, _, parameters = (header or b"").decode("latin-1").lower().partition(";")
    name = name.strip()
    if name not in rules.media_types:
        raise UnsupportedMediaType(f"Content-Type must be {' or '.join(rules.media_types)}")
    if parameters and not all(map(_is_utf8, parameters.split(";"))):
        raise UnsupportedMediaType("The charset must be UTF-8")
    return name


def _is_utf8(parameter: str) -> bool:
    """Whether a parameter of a media type says nothing else of the charset."""
    attribute, _, value = parameter.partition("=")
    return attribute.strip() != "charset" or value.strip().strip('"') == "utf-8"


async def read(receive: Receive, headers: dict[bytes, bytes], rules: BodyRules, patience: float) -> bytes:
    """The whole body, unpacked. ``patience`` is the longest wait for its next piece, in seconds, and how far the body as
    a whole may lag behind ``_SLOWEST`` bytes a second.

    Raises ``TooLarge``, ``RequestTimeout``, ``UnsupportedMediaType``, a 400 for what can't be unpacked, ``Disconnected``.
    """
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"identity", b"gzip", b"zstd"):
        raise UnsupportedMediaType("Content-Encoding must be one of gzip, zstd, identity")
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > rules.limit:
        raise _too_large(rules)
    body = await _receive(receive, rules, patience)
    if coding == b"gzip":
        return _gunzip(body, rules)
    if coding == b"zstd":
        return _unzstd(body, rules)
    return body


async def _receive(receive: Receive, rules: BodyRules, patience: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    began = 0.0
    while True:
        message = await _next(receive, patience)
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > rules.limit:
            raise _too_large(rules)
        if not message.get("more_body", False):
            return b"".join((*pieces, piece)) if pieces else piece
        pieces.append(piece)
        began = began or monotonic()
        if monotonic() - began > patience + size / _SLOWEST:  # drips: else it would be held open for hours
            raise RequestTimeout


async def _next(receive: Receive, patience: float) -> Message:
    """The next message. One that is there already, as nearly all are, is taken without arming a timer (4 µs)."""
    receiving = cast("Coroutine[Any, Any, Message]", receive())
    try:
        waits_for = receiving.send(None)
    except StopIteration as done:
        message: Message = done.value
        return message
    try:
        async with asyncio.timeout(patience):
            return await _go_on(receiving, waits_for)
    except TimeoutError:
        raise RequestTimeout from None


@types.coroutine
def _go_on(started: Coroutine[Any, Any, Message], waits_for: Any) -> Generator[Any, Any, Message]:
    """Await a coroutine that has already run up to its first wait."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 - whatever is thrown in goes on to the coroutine, as await does
            step = partial(started.throw, error)
        else:
            step = partial(started.send, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            message: Message = done.value
            return message


def _gunzip(body: bytes, rules: BodyRules) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = unpacker.decompress(body, rules.limit + 1)
    except zlib.error:
        raise invalid(None, "the body is not valid gzip") from None
    if len(plain) > rules.limit:
        raise _too_large(rules)
    if not unpacker.eof or unpacker.unused_data:
        raise invalid(None, "the body must be exactly one complete gzip member")
    return plain


def _unzstd(body: bytes, rules: BodyRules) -> bytes:
    try:
        frame = zstandard.get_frame_parameters(body)
        if frame.content_size not in _NO_SIZE and frame.content_size > rules.limit:
            raise _too_large(rules)
        if frame.window_size > _ZSTD_WINDOW:
            raise invalid(None, f"the zstd window must not exceed {_ZSTD_WINDOW >> 20} MiB")
        return _unpack_frame(body, rules)
    except zstandard.ZstdError:
        raise invalid(None, _ONE_FRAME) from None


def _unpack_frame(body: bytes, rules: BodyRules) -> bytes:
    """In steps, since the library can't bound the output of a frame that does not say its size and still tell what is wrong with it."""
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    pieces: list[bytes] = []
    size = 0
    for start in range(0, len(body), _ZSTD_STEP):
        piece = unpacker.decompress(body[start : start + _ZSTD_STEP])
        size += len(piece)
        if size > rules.limit:
            raise _too_large(rules)
        pieces.append(piece)
    if not unpacker.eof or unpacker.unused_data:
        raise invalid(None, _ONE_FRAME)
    return b"".join(pieces)


def _too_large(rules: BodyRules) -> Problem:
    return TooLarge(f"The body must not be larger than {rules.limit >> 10} KiB, as sent and unpacked")
