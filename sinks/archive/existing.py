"""An object that is there already under a part's name: whether it is what would be written, and where its members begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from ops.objects import ObjectStore
from schemas.archive import Block
from schemas.members import NotGzip, unzip
from sinks.archive.handle import Written


class Existing(NamedTuple):
    """What is there: as ``Written``, with the place of each member."""

    written: Written
    places: tuple[int, ...]


def read_existing(objects: ObjectStore, key: str) -> Existing | None:
    """The object, read to its end in flat memory; ``None`` when it is no gzip file. Blocking. Raises as ``ObjectStore.stream``."""
    stored, content = sha256(), sha256()
    size = 0
    places: list[int] = []

    def chunks() -> Iterator[bytes]:
        nonlocal size
        for chunk in objects.stream(key):
            stored.update(chunk)
            size += len(chunk)
            yield chunk

    try:
        for piece in unzip(chunks()):
            content.update(piece.data)
            if not places or places[-1] != piece.place:
                places.append(piece.place)
    except NotGzip:
        return None
    return Existing(Written(size, stored.digest(), content.digest()), tuple(places))


def moved(blocks: Sequence[Block], events: Sequence[int] | None, keys: Sequence[int] | None) -> list[Block] | None:
    """The blocks at the places of the members that are there, where another release of the compressor took other room.

    ``None`` when these are not as many: then the same lines were cut otherwise, which no release of ours does.
    """
    places = events if events is not None else [block.offset for block in blocks]
    keys_places = keys[1:] if keys is not None else [block.keys_offset for block in blocks]  # the first one is the header
    if not len(blocks) == len(places) == len(keys_places):
        return None
    return [block._replace(offset=at, keys_offset=keys_at) for block, at, keys_at in zip(blocks, places, keys_places, strict=True)]
