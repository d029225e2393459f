"""A workspace's hashes in tiles (C2SP tlog-tiles), for ever: what proofs are made of once the events are gone (contract §3).

Only level 0 is kept. A tile is written once: full ones under their own name, the last hashes of a range as the partial tile ``.p/W`` from
which the next range takes them. Everything may be written any number of times, as equal hashes make equal tiles; whatever else is found
under a tile's name means that somebody wrote there, or that the rows are not what they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterator, Sequence
from typing import NamedTuple

from ops.objects import AlreadyThere, NotThere, ObjectStore
from schemas.merkle import HASH_BYTES, TILE_HASHES, place_of, tile_key

_AT_ONCE = 8
"""Tiles under way at a time: a request takes as long as its answer, whatever its size."""
_TILE_BYTES = TILE_HASHES * HASH_BYTES


class WrongTile(Exception):
    """A tile does not hold what it has to. Nothing of its workspace may be purged until somebody has found out why."""


class Tree(NamedTuple):
    """Whose hashes, and where they are kept."""

    objects: ObjectStore
    company_id: str
    workspace_id: str

    def key(self, index: int, width: int = TILE_HASHES) -> str:
        """The name of one of its tiles."""
        return tile_key(self.company_id, self.workspace_id, index, width)


class _Tile(NamedTuple):
    key: str
    hashes: bytes


async def write_tiles(tree: Tree, first: int, prev_hash: bytes, pages: AsyncIterable[bytes]) -> int:
    """Write the hashes of the events from seq ``first`` on, which come joined in pages; returns the seq behind the last one.

    The event before is to have ``prev_hash``, and to be in tiles already. Holds a page and some tiles in memory. Raises ``WrongTile``, and
    what ``ObjectStore`` raises while it is away.
    """
    index, place = place_of(first)
    pending = bytearray(await asyncio.to_thread(_hashes_before, tree, index, place, prev_hash))
    async for page in pages:
        pending += page
        whole = len(pending) // _TILE_BYTES
        tiles = [_Tile(tree.key(index + n), bytes(pending[n * _TILE_BYTES : (n + 1) * _TILE_BYTES])) for n in range(whole)]
        del pending[: whole * _TILE_BYTES]
        index += whole
        for at in range(0, whole, _AT_ONCE):
            await _put_all(tree.objects, tiles[at : at + _AT_ONCE])
    width = len(pending) // HASH_BYTES
    if width:
        await _put_all(tree.objects, [_Tile(tree.key(index, width), bytes(pending))])
    return index * TILE_HASHES + width + 1


def read_tiles(tree: Tree, first: int, last: int) -> Iterator[bytes]:
    """The hashes of the events from seq ``first`` to ``last``, joined, a tile at a time. Blocking: for threads.

    Raises ``NotThere`` where they are not in tiles, ``WrongTile``, and what ``ObjectStore`` raises while it is away.
    """
    (begin, start), (end, stop) = place_of(first), place_of(last)
    for index in range(begin, end + 1):
        hashes = _tile(tree, index, stop + 1 if index == end else TILE_HASHES)
        yield hashes[start * HASH_BYTES if index == begin else 0 : (stop + 1) * HASH_BYTES if index == end else None]


def _hashes_before(tree: Tree, index: int, place: int, prev_hash: bytes) -> bytes:
    """What stands in the first event's tile before it: the end of the range before."""
    if not place:
        return b""
    key = tree.key(index, place)
    try:
        hashes = _checked(key, tree.objects.get(key), place)
    except NotThere:
        raise WrongTile(f"{key} is missing") from None
    if hashes[-HASH_BYTES:] != prev_hash:
        raise WrongTile(f"{key} does not end with the hash of the event before")
    return hashes


async def _put_all(objects: ObjectStore, tiles: Sequence[_Tile]) -> None:
    await asyncio.gather(*(asyncio.to_thread(_put, objects, tile) for tile in tiles))


def _put(objects: ObjectStore, tile: _Tile) -> None:
    try:
        objects.put_new(tile.key, tile.hashes)
    except AlreadyThere:
        if objects.get(tile.key) != tile.hashes:
            raise WrongTile(f"{tile.key} holds other hashes") from None


def _tile(tree: Tree, index: int, least: int) -> bytes:
    """The hashes of a tile that has at least so many: the whole one, or else the widest part of it that there is."""
    whole = tree.key(index)
    try:
        return _checked(whole, tree.objects.get(whole), TILE_HASHES)
    except NotThere:
        widths = [int(key.rpartition("/")[2]) for key in tree.objects.keys(f"{whole}.p/")]
        if max(widths, default=0) < least or least == TILE_HASHES:
            raise
    part = tree.key(index, max(widths))
    return _checked(part, tree.objects.get(part), max(widths))


def _checked(key: str, hashes: bytes, width: int) -> bytes:
    if len(hashes) != width * HASH_BYTES:
        raise WrongTile(f"{key} has {len(hashes)} bytes")
    return hashes
