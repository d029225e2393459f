"""Tiles: every hash has its place, every tile its name, and the names are those of tlog-tiles."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.merkle import TILE_HASHES, place_of, tile_key, tile_path
from tests.unit.schemas import plain_archive
from tests.unit.schemas.strategies import UUIDS

INDEXES = st.integers(0, 2**55)
WIDTHS = st.integers(1, TILE_HASHES)
_PATH = re.compile(r"tile/0/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?").fullmatch


@given(INDEXES, WIDTHS)
def test_a_path_names_one_tile(index: int, width: int) -> None:
    """Read back by the grammar of the specification: digits in threes, all but the last with an x."""
    found = _PATH(tile_path(index, width))
    assert found
    assert int(found[1].replace("x", "").replace("/", "") + found[2]) == index
    assert int(found[3] or TILE_HASHES) == width
    assert not found[1].startswith("x000"), "no element more than are needed"


@given(INDEXES, WIDTHS)
def test_plain_code_agrees(index: int, width: int) -> None:
    assert tile_path(index, width) == plain_archive.tile_path(index, width)


@given(st.integers(1, 2**63 - 1))
def test_every_event_has_its_own_place(seq: int) -> None:
    index, place = place_of(seq)
    assert 0 <= place < TILE_HASHES
    assert index * TILE_HASHES + place + 1 == seq


@given(UUIDS, UUIDS, INDEXES, WIDTHS)
def test_a_tile_is_kept_under_its_workspace(company: str, workspace: str, index: int, width: int) -> None:
    assert tile_key(company, workspace, index, width) == f"tiles/{company}/{workspace}/{tile_path(index, width)}"


@pytest.mark.parametrize(("index", "width"), [(-1, 256), (0, 0), (0, 257), (0, -1)])
def test_there_is_no_other_tile(index: int, width: int) -> None:
    with pytest.raises(ValueError, match="no tile"):
        tile_path(index, width)
