"""Tiles: whatever ranges a workspace is purged in, and wherever that breaks off, the same hashes stand in the same tiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.objects import Lock, NotThere, StoreUnavailable
from ops.tiles import Tree, WrongTile, read_tiles, write_tiles
from schemas.merkle import HASH_BYTES, TILE_HASHES, tile_path
from tests.support.memory_store import MemoryStore

COMPANY, WORKSPACE = "0199aaaa-0000-7000-8000-000000000001", "0199aaaa-0000-7000-8000-000000000002"
MOST = 1400
HASHES = [sha256(seq.to_bytes(8)).digest() for seq in range(1, MOST + 1)]
BEFORE_FIRST = bytes(HASH_BYTES)

ends = st.lists(st.integers(1, MOST), min_size=1, max_size=6, unique=True).map(sorted)
"""The last seqs of a workspace's ranges."""


class FailingStore(MemoryStore):
    """A store that goes away after so many writes."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    def put_new(
        self,
        key: str,
        body: bytes,
        *,
        tags: Mapping[str, str] = MappingProxyType({}),
        storage_class: str = "STANDARD",
        lock: Lock | None = None,
    ) -> None:
        if self.writes >= self.good:
            raise StoreUnavailable("away")
        super().put_new(key, body, tags=tags, storage_class=storage_class, lock=lock)


async def pages(first: int, last: int, size: int) -> AsyncIterator[bytes]:
    for at in range(first - 1, last, size):
        yield b"".join(HASHES[at : min(at + size, last)])


def tree_of(store: MemoryStore) -> Tree:
    return Tree(store, COMPANY, WORKSPACE)


def write(store: MemoryStore, first: int, last: int, page: int = 100) -> int:
    prev = HASHES[first - 2] if first > 1 else BEFORE_FIRST
    return asyncio.run(write_tiles(tree_of(store), first, prev, pages(first, last, page)))


def write_all(store: MemoryStore, lasts: Sequence[int], page: int) -> None:
    first = 1
    for last in lasts:
        first = write(store, first, last, page)
        assert first == last + 1


def read(store: MemoryStore, first: int, last: int) -> bytes:
    return b"".join(read_tiles(tree_of(store), first, last))


@settings(max_examples=60, deadline=None)
@given(lasts=ends, page=st.integers(1, 700), data=st.data())
def test_ranges_of_any_size_make_the_tiles_of_the_whole(lasts: list[int], page: int, data: st.DataObject) -> None:
    store = MemoryStore()
    write_all(store, lasts, page)
    for index in range(lasts[-1] // TILE_HASHES):
        expected = b"".join(HASHES[index * TILE_HASHES : (index + 1) * TILE_HASHES])
        assert store.get(f"tiles/{COMPANY}/{WORKSPACE}/{tile_path(index)}") == expected
    first = data.draw(st.integers(1, lasts[-1]))
    last = data.draw(st.integers(first, lasts[-1]))
    assert read(store, first, last) == b"".join(HASHES[first - 1 : last])


@settings(max_examples=60, deadline=None)
@given(lasts=ends, page=st.integers(1, 700), good=st.integers(0, 12))
def test_breaking_off_anywhere_and_going_over_the_range_again_ends_in_the_same(lasts: list[int], page: int, good: int) -> None:
    whole, broken = MemoryStore(), FailingStore(good)
    write_all(whole, lasts, page)
    first = 1
    for last in lasts:
        try:
            write(broken, first, last, page)
        except StoreUnavailable:
            broken.good = MOST
            write(broken, first, last, page)
        first = last + 1
    assert {key: kept.body for key, kept in broken.objects.items()} == {key: kept.body for key, kept in whole.objects.items()}


def test_writing_again_writes_nothing() -> None:
    store = MemoryStore()
    write(store, 1, 300)
    before = store.writes
    write(store, 1, 300)
    assert store.writes == before


def test_names_are_those_of_the_standard() -> None:
    store = MemoryStore()
    write(store, 1, 300)
    assert list(store.keys("")) == [f"tiles/{COMPANY}/{WORKSPACE}/tile/0/{name}" for name in ("000", "001.p/44")]


@pytest.mark.parametrize("key", ["000", "001", "002.p/88"])
def test_a_tile_that_holds_other_hashes_is_an_alarm(key: str) -> None:
    """Equal rows make equal tiles: one of the two was tampered with."""
    store = MemoryStore()
    store.put_new(tree_of(store).key(0).removesuffix("000") + key, b"other")
    with pytest.raises(WrongTile, match="other hashes"):
        write(store, 1, 600)


def test_the_range_before_must_end_in_the_hash_that_this_one_links_to() -> None:
    store = MemoryStore()
    write(store, 1, 300)
    with pytest.raises(WrongTile, match="does not end"):
        asyncio.run(write_tiles(tree_of(store), 301, HASHES[0], pages(301, 400, 100)))


def test_a_range_whose_predecessor_is_not_in_tiles_is_not_written() -> None:
    store = MemoryStore()
    with pytest.raises(WrongTile, match="missing"):
        write(store, 301, 400)
    assert not store.objects


def test_what_is_not_in_tiles_is_not_read() -> None:
    store = MemoryStore()
    write(store, 1, 300)
    for first, last in ((1, 301), (300, 301), (1, 600), (513, 513)):
        with pytest.raises(NotThere):
            read(store, first, last)


def test_a_tile_that_was_cut_is_told() -> None:
    store = MemoryStore()
    write(store, 1, 300)
    kept = store.objects[tree_of(store).key(0)]
    kept.body = kept.body[:-1]
    with pytest.raises(WrongTile, match="bytes"):
        read(store, 1, 10)
