"""Tiles of a workspace's Merkle tree (C2SP tlog-tiles): 256 hashes a tile, so that any proof can be made after the events are gone.

The leaves are the events' hashes in seq order: leaf ``n`` of the tree is the event of seq ``n + 1``. Of the tree, only level 0 is kept: all
above it is computed from that.
"""

from __future__ import annotations

from typing import Final

TILE_HASHES: Final = 256
HASH_BYTES: Final = 32


def tile_path(index: int, width: int = TILE_HASHES) -> str:
    """``tile/0/x001/x234/067`` of a whole tile of level 0, ``….p/W`` where it has but ``W`` hashes (tlog-tiles, "Merkle Tree")."""
    if index < 0 or not 1 <= width <= TILE_HASHES:
        raise ValueError(f"there is no tile {index} of {width} hashes")
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/0/{path}" + ("" if width == TILE_HASHES else f".p/{width}")


def tile_key(company_id: str, workspace_id: str, index: int, width: int = TILE_HASHES) -> str:
    """Where the tile is kept in the region's bucket."""
    return f"tiles/{company_id}/{workspace_id}/{tile_path(index, width)}"


def place_of(seq: int) -> tuple[int, int]:
    """The tile of an event's hash, and its place in it from 0."""
    return divmod(seq - 1, TILE_HASHES)
