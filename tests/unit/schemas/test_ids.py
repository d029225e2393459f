"""Ids: version 7 UUIDs that sort by the time of receipt and are random otherwise."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import RANDOM_BYTES, received_at, uuid7

TIMES = st.integers(0, 2**48 * 1000 - 1)
RANDOMNESS = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(TIMES, RANDOMNESS)
def test_an_id_is_a_lower_case_version_7_uuid_of_its_millisecond(micros: int, randomness: bytes) -> None:
    """RFC 9562 §5.7."""
    made = uuid7(micros, randomness)
    parsed = UUID(made)
    assert str(parsed) == made
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")
    assert parsed.int >> 80 == micros // 1000


@given(TIMES, RANDOMNESS)
def test_an_id_tells_its_millisecond(micros: int, randomness: bytes) -> None:
    assert received_at(uuid7(micros, randomness)) == micros - micros % 1000


@given(TIMES, TIMES, RANDOMNESS, RANDOMNESS)
def test_ids_sort_by_their_milliseconds(one: int, other: int, first: bytes, second: bytes) -> None:
    if one // 1000 < other // 1000:
        assert uuid7(one, first) < uuid7(other, second)


def test_all_74_bits_that_are_free_are_random() -> None:
    """Each changes with a bit of the randomness, and no two with the same one."""
    zero = UUID(uuid7(0, bytes(RANDOM_BYTES))).int
    changes = {UUID(uuid7(0, (1 << bit).to_bytes(RANDOM_BYTES, "big"))).int ^ zero for bit in range(8 * RANDOM_BYTES)} - {0}
    free = ((1 << 12) - 1) << 64 | ((1 << 62) - 1)
    assert sorted(changes) == [1 << bit for bit in range(128) if free >> bit & 1]
