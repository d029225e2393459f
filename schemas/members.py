"""Gzip files of many members (RFC 1952 §2.2), made and read a member at a time: what both objects of a part are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from isal import isal_zlib

_LEVEL: Final = 1
"""Takes the room of zlib's level 6 for an archive's lines, and 2 µs a line instead of 20."""
_GZIP: Final = 31
"""zlib's window bits, with a gzip header."""
_PIECE_BYTES: Final = 1 << 20
_Error: Final[type[Exception]] = isal_zlib.error  # type: ignore[assignment]  # its stubs have an instance where the class is


class NotGzip(ValueError):
    """The bytes are not what they should be: no gzip, cut off, or changed."""


class Piece(NamedTuple):
    """A part of what a member unzips to; ``place`` is where the member begins in the file, in bytes."""

    place: int
    data: bytes


def member(content: bytes) -> bytes:
    """The content as a member. Equal content gives equal bytes, as long as the compressor stays the same."""
    packed: bytes = isal_zlib.compress(content, _LEVEL, _GZIP)
    return packed


def unzip_member(data: bytes, most: int) -> bytes:
    """What exactly one member unzips to. Raises ``NotGzip``, also when that is more than ``most`` bytes."""
    inflate = isal_zlib.decompressobj(_GZIP)
    try:
        content: bytes = inflate.decompress(data, most)
    except _Error as error:
        raise NotGzip(str(error)) from None
    if not inflate.eof or inflate.unused_data:
        raise NotGzip("not one whole member")
    return content


def unzip(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """All that a file unzips to, in pieces of bounded size: it may be anybody's. Raises ``NotGzip``."""
    read = 0
    place = 0
    inflate: isal_zlib.Decompress | None = None
    for chunk in chunks:
        rest, read = chunk, read + len(chunk)
        while rest:
            if inflate is None:
                place, inflate = read - len(rest), isal_zlib.decompressobj(_GZIP)
            try:
                data = inflate.decompress(rest, _PIECE_BYTES)
            except _Error as error:
                raise NotGzip(str(error)) from None
            if data:
                yield Piece(place, data)
            if inflate.eof:
                rest, inflate = inflate.unused_data, None
            else:
                rest = inflate.unconsumed_tail
    if inflate is not None:
        raise NotGzip("it is cut off")
