"""An object that is there already under a part's name: whether it is what would be written, and where its members begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from isal import isal_zlib

from ops.objects import ObjectStore
from schemas.archive import BLOCK_BYTES, Block
from sinks.archive.handle import Written

_GZIP: Final = 31


class Existing(NamedTuple):
    """What is there: as ``Written``, with the place of each member and how many bytes it unzips to."""

    written: Written
    places: tuple[int, ...]


def read_existing(objects: ObjectStore, key: str) -> Existing | None:
    """The object, read to its end in flat memory; ``None`` when it is no gzip file. Blocking. Raises as ``ObjectStore.stream``."""
    stored, content = sha256(), sha256()
    size = 0
    places: list[int] = []
    inflate = None
    try:
        for chunk in objects.stream(key):
            stored.update(chunk)
            rest, size = chunk, size + len(chunk)
            while rest:
                if inflate is None:
                    places.append(size - len(rest))
                    inflate = isal_zlib.decompressobj(_GZIP)
                for piece in _pieces(inflate, rest):
                    content.update(piece)
                rest = inflate.unused_data if inflate.eof else b""
                inflate = None if inflate.eof else inflate
    except isal_zlib.error:
        return None
    return None if inflate is not None else Existing(Written(size, stored.digest(), content.digest()), tuple(places))


def _pieces(inflate: isal_zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What ``data`` adds, in pieces of bounded size: it may be somebody's file of zeros."""
    yield inflate.decompress(data, BLOCK_BYTES)
    while not inflate.eof and inflate.unconsumed_tail:
        yield inflate.decompress(inflate.unconsumed_tail, BLOCK_BYTES)


def moved(blocks: Sequence[Block], events: Sequence[int] | None, keys: Sequence[int] | None) -> list[Block] | None:
    """The blocks at the places of the members that are there, where another release of the compressor took other room.

    ``None`` when these are not as many: then the same lines were cut otherwise, which no release of ours does.
    """
    places = events if events is not None else [block.offset for block in blocks]
    keys_places = keys[1:] if keys is not None else [block.keys_offset for block in blocks]  # the first one is the header
    if not len(blocks) == len(places) == len(keys_places):
        return None
    return [block._replace(offset=at, keys_offset=keys_at) for block, at, keys_at in zip(blocks, places, keys_places, strict=True)]
