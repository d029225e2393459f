"""A part is read back from its bytes alone: any change of either object is found, and named."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.archive.checking import Bad, Recorded, check_part
from ops.verify.archive import Run
from schemas.archive import ArchiveRange, Blocks, events_key, keys_key
from schemas.event import StoredEvent
from schemas.members import member, unzip
from schemas.seal import Salts, event_line, keys_header, salts_of
from sinks.archive.handle import MarkedRange, PartContent
from tests.support.archiving import DAY
from tests.support.chains import Chain

_COMPANY = str(UUID(int=1))
_DATA_KEY = bytes(range(32))
_NAME, _KEYS_NAME = events_key(_COMPANY, DAY, 1), keys_key(_COMPANY, DAY, 1)


@dataclass(frozen=True)
class Stored:
    """A part as the sink writes it, and what was recorded of it."""

    sent: Sequence[StoredEvent]
    ranges: list[Run]
    recorded: Recorded
    events: bytes
    keys: bytes

    def check(self, *, events: bytes | None = None, keys: bytes | None = None, recorded: Recorded | None = None) -> int:
        found = (self.events if events is None else events, self.keys if keys is None else keys)
        return check_part(recorded or self.recorded, self.ranges, _DATA_KEY, *map(_chunks, found))

    def named(self, events: bytes | None = None, keys: bytes | None = None) -> str:
        with pytest.raises(Bad) as found:
            self.check(events=events, keys=keys)
        return str(found.value)


def _chunks(data: bytes, size: int = 777) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def _stored(counts: Sequence[int]) -> Stored:
    events = [event for number, count in enumerate(counts) for event in Chain(_COMPANY, str(UUID(int=number + 10))).events(count)]
    ranges = []
    for workspace, group in groupby(events, lambda event: event.workspace_id):
        several = list(group)
        first, last = several[0], several[-1]
        ranges.append(Run(workspace, first.seq, last.seq, first.prev_hash, first.hash, last.hash))
    marked = [MarkedRange(ArchiveRange(run.workspace_id, run.from_seq, run.to_seq), run.first_prev_hash, run.last_hash) for run in ranges]
    content = PartContent(_NAME, _DATA_KEY, marked)
    pieces = [content.begin(), *content.add(events), *content.end()]
    written, keys = content.events.written(), content.keys.written()
    recorded = Recorded(
        key=_NAME,
        sha256=written.sha256,
        content_sha256=written.content_sha256,
        row_count=content.rows,
        blocks=Blocks(content.blocks, written.size, keys.size),
        size=written.size,
        keys_size=keys.size,
        occurred=(content.occurred_from, content.occurred_to),
        received=(content.received_from, content.received_to),
    )
    return Stored(events, ranges, recorded, b"".join(piece.events for piece in pieces), b"".join(piece.keys for piece in pieces))


@cache
def _small() -> Stored:
    """Made once: its salts are random, and hypothesis wants the same examples to be the same."""
    return _stored([3, 2])


@pytest.fixture(scope="module")
def stored() -> Stored:
    return _stored([700, 1, 600])


def test_what_the_sink_wrote_is_right(stored: Stored) -> None:
    assert stored.check() == 1301


@given(st.data())
def test_any_bit_flipped_in_either_object_is_found(data: st.DataObject) -> None:
    stored = _small()
    which = data.draw(st.sampled_from(["events", "keys"]))
    whole: bytes = getattr(stored, which)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    if which == "events" or _unzips_otherwise(bytes(changed), whole):
        told = stored.named(**{which: bytes(changed)})
        assert told.startswith((_NAME, _KEYS_NAME))


def _unzips_otherwise(changed: bytes, whole: bytes) -> bool:
    """Of salts, nothing is kept but the size: a flag or a time in a gzip header may be another one, and is nobody's loss."""
    try:
        return b"".join(piece.data for piece in unzip([changed])) != b"".join(piece.data for piece in unzip([whole]))
    except ValueError:
        return True


@given(st.integers(0, 2**16), st.sampled_from(["events", "keys"]))
def test_an_object_that_is_cut_is_found(at: int, which: str) -> None:
    stored = _small()
    whole: bytes = getattr(stored, which)
    stored.named(**{which: whole[: at % len(whole)]})


def _again(stored: Stored, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The events' object with other lines, in members of as many."""
    lines = change([event_line(event) for event in stored.sent])
    return b"".join(member(b"".join(line + b"\n" for line in lines[at : at + 1000])) for at in range(0, len(lines), 1000))


def test_a_line_that_was_dropped_swapped_or_changed_is_named(stored: Stored) -> None:
    """By whoever can compress it again, so that every check of gzip's passes."""
    first = stored.sent[0].workspace_id
    dropped = stored.named(events=_again(stored, lambda lines: lines[:16] + lines[17:]))
    assert dropped == f"{_NAME} line 17 (workspace {first} seq 18): seq 18 stands where 17 has to be"
    swapped = stored.named(events=_again(stored, lambda lines: [*lines[:16], lines[17], lines[16], *lines[18:]]))
    assert swapped == f"{_NAME} line 17 (workspace {first} seq 18): seq 18 stands where 17 has to be"
    changed = stored.named(
        events=_again(stored, lambda lines: [*lines[:16], lines[16].replace(b'"user.login"', b'"user.logon"'), *lines[17:]])
    )
    assert changed.startswith(f"{_NAME} line 17 (workspace {first} seq 17): hash is ")
    short = stored.named(events=_again(stored, lambda lines: lines[:-1]))
    assert short == f"{_NAME} line 1301 (workspace {stored.sent[-1].workspace_id} seq 600): is missing, and whatever has to come behind it"


def test_salts_that_are_others_are_named_by_their_line(stored: Stored) -> None:
    salts = Salts(_DATA_KEY, _NAME, 0)
    header = keys_header(_NAME, 0)

    def keys(lines: list[bytes], header: bytes = header) -> bytes:
        return member(header + b"\n") + b"".join(
            member(b"".join(line + b"\n" for line in lines[at : at + 1000])) for at in range(0, len(lines), 1000)
        )

    lines = [salts.encrypt(number, salts_of(event)) for number, event in enumerate(stored.sent)]
    assert stored.check(keys=keys(lines)) == 1301
    assert stored.named(keys=keys([*lines[:4], lines[5], *lines[5:]])).startswith(f"{_KEYS_NAME} line 6: ")
    of_another = [*lines[:4], salts.encrypt(4, salts_of(stored.sent[5])), *lines[5:]]
    assert "seq 5): a group does not open" in stored.named(keys=keys(of_another))
    assert stored.named(keys=keys(lines[:-1])) == f"{_KEYS_NAME} line 1302: is missing"
    assert stored.named(keys=keys([*lines, lines[0]])).startswith(f"{_KEYS_NAME} line 1303: is one too many")
    assert "says that it is of" in stored.named(keys=keys(lines, keys_header("archives/other", 0)))
    assert "not an object of salts" in stored.named(keys=keys(lines, b"{}"))


def test_the_same_lines_in_another_shape_are_not_what_was_written(stored: Stored) -> None:
    """One member instead of two, and the same members compressed otherwise: nobody but us writes here."""
    one = gzip.compress(b"".join(event_line(event) + b"\n" for event in stored.sent), mtime=0)
    assert "which the index of blocks has elsewhere" in stored.named(events=one)
    recorded = replace(stored.recorded, sha256=bytes(32))
    with pytest.raises(Bad, match=r"its SHA-256 is .*, recorded was 0000"):
        stored.check(recorded=recorded)


@pytest.mark.parametrize("field", ["row_count", "size", "keys_size", "occurred", "received"])
def test_each_figure_that_was_recorded_counts(stored: Stored, field: str) -> None:
    value = getattr(stored.recorded, field)
    other: Any = (value[0], value[1] + 1) if isinstance(value, tuple) else value + 1
    changes: dict[str, Any] = {field: other}
    with pytest.raises(Bad, match="recorded was"):
        stored.check(recorded=replace(stored.recorded, **changes))


def test_zeros_without_end_fill_no_memory(stored: Stored) -> None:
    assert "is too long" in stored.named(events=member(bytes(64 << 20)))
