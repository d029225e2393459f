"""Reading the events topic: every record is read as it was written, and what is none is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.announced import open_event
from schemas.codec import EVENT_HEADER, HEADER_BYTES, Undecodable, encode_stored
from schemas.event import GROUPS, Group, StoredEvent
from tests.unit.schemas import plain
from tests.unit.schemas.strategies import STORED
from tests.unit.schemas.test_codec import public


@given(STORED)
def test_a_record_is_read_as_it_was_written(event: StoredEvent) -> None:
    assert open_event(encode_stored(event)) == event


@given(STORED, st.sets(st.sampled_from(GROUPS), min_size=1))
def test_so_is_that_of_an_erased_event(event: StoredEvent, names: set[str]) -> None:
    change: dict[str, Any] = {name: Group(bytes(range(32)), None) for name in names}
    erased = replace(event, **change)
    assert open_event(encode_stored(erased)) == erased


@given(STORED)
def test_a_record_that_another_encoder_wrote_is_read_too(event: StoredEvent) -> None:
    assert open_event(plain.encode(plain.schema("audit_event"), public(event))) == event


@given(STORED, st.data())
def test_a_record_that_is_cut_or_goes_on_is_refused(event: StoredEvent, data: st.DataObject) -> None:
    record = encode_stored(event)
    size = data.draw(st.integers(0, len(record) - 1))
    for wrong in (record[:size], record + b"\0"):
        with pytest.raises(Undecodable):
            open_event(wrong)


@given(STORED, st.data())
def test_a_garbled_record_is_an_event_that_is_written_so_or_refused(event: StoredEvent, data: st.DataObject) -> None:
    record = bytearray(encode_stored(event))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    try:
        read = open_event(bytes(record))
    except Undecodable:
        return
    # Numbers and lengths have several spellings in Avro, so bytes may differ, but never what they say.
    assert open_event(encode_stored(read)) == read


@pytest.mark.parametrize("record", [b"", EVENT_HEADER, EVENT_HEADER[:-1] + b"\0" + bytes(100), EVENT_HEADER + b"\xff" * 200, bytes(300)])
def test_bytes_that_are_none_of_ours_are_refused(record: bytes) -> None:
    with pytest.raises(Undecodable):
        open_event(record)


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_header_are_refused(body: bytes) -> None:
    with pytest.raises(Undecodable):
        open_event(EVENT_HEADER[:HEADER_BYTES] + body)


@given(STORED, st.sampled_from([("seq", 63), ("source_offset", 63), ("source_index", 31)]))
def test_numbers_that_no_column_holds_are_refused(event: StoredEvent, limit: tuple[str, int]) -> None:
    """Else they would end every process that is to store them, again and again."""
    name, bits = limit
    largest: dict[str, Any] = {name: 2**bits - 1}
    beyond: dict[str, Any] = {name: 2**bits}
    assert open_event(encode_stored(replace(event, **largest))).seq
    with pytest.raises(Undecodable):
        open_event(encode_stored(replace(event, **beyond)))
