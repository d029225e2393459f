"""The archive's lines: every event comes back, whatever is changed is refused, and what was erased stays closed."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import MAX_INTEGER, canonical
from schemas.event import GROUPS, SALT_BYTES, Group, StoredEvent, format_time
from schemas.leaf import leaf_hash, leaf_of
from schemas.seal import (
    Salts,
    Unopenable,
    event_line,
    keys_header,
    micros_of,
    open_group,
    read_header,
    read_line,
    restored,
    salts_of,
    seal_group,
)
from tests.unit.schemas import plain
from tests.unit.schemas.strategies import HASHES, MICROS, OBJECTS, STORED

NAME = "archives/019c1388-7149-7198-9612-ea72d1f43751/2026/01/31/events.jsonl.gz"
NO_SALT = bytes(SALT_BYTES)
ERASED = st.sets(st.sampled_from(GROUPS), min_size=1)


def hashed(event: StoredEvent) -> StoredEvent:
    """The event as an archive gives it back: with the hash of its leaf, and without its place in the ingest topic."""
    placed = replace(event, source_offset=0, source_index=0, seq=min(event.seq, MAX_INTEGER))
    return replace(placed, hash=leaf_hash(leaf_of(placed)))


EVENTS = STORED.map(hashed).filter(lambda event: all(each is None or each.salt != NO_SALT for each in groups(event)))
"""No salt of zeros: of the random ones, one in 2^128 is."""


def groups(event: StoredEvent) -> list[Group | None]:
    return [getattr(event, name) for name in GROUPS]


def erase(event: StoredEvent, names: set[str], at: int) -> StoredEvent:
    gone = {name: Group(group.commitment, None) for name in names if (group := getattr(event, name)) is not None}
    return replace(event, **gone, erased_at=at) if gone else event  # type: ignore[arg-type]  # a mapping has one type of values


@given(EVENTS)
def test_an_event_comes_back_from_its_line_and_its_salts(event: StoredEvent) -> None:
    line = read_line(event_line(event))
    assert restored(line, salts_of(event)) == event
    assert line.leaf == leaf_of(event)
    assert leaf_hash(line.leaf) == line.hash


@given(EVENTS)
def test_a_line_is_canonical_json_of_one_line(event: StoredEvent) -> None:
    line = event_line(event)
    assert canonical(orjson.loads(line)) == line
    assert b"\n" not in line


@given(EVENTS)
def test_a_line_tells_nothing_of_what_is_in_the_groups(event: StoredEvent) -> None:
    sealed = orjson.loads(event_line(event))["sealed"]
    for name, group in zip(GROUPS, groups(event), strict=True):
        if group is None or group.value is None:
            assert sealed[name] is None
        else:
            ciphertext = b64decode(sealed[name])
            assert len(ciphertext) == len(group.value) + 16
            assert group.value not in ciphertext


@given(EVENTS, ERASED, MICROS.filter(bool))
def test_what_was_erased_before_archiving_is_in_neither_object(event: StoredEvent, names: set[str], at: int) -> None:
    erased = erase(event, names, at)
    assert restored(read_line(event_line(erased)), salts_of(erased)) == erased


@given(EVENTS, ERASED, MICROS.filter(bool))
def test_what_is_erased_in_the_salts_is_erased_though_the_line_stays(event: StoredEvent, names: set[str], at: int) -> None:
    erased = erase(event, names, at)
    assert restored(read_line(event_line(event)), salts_of(erased)) == erased


@given(EVENTS, st.data())
def test_another_salt_opens_nothing(event: StoredEvent, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 4 * SALT_BYTES - 1))
    salts = bytearray(salts_of(event))
    salts[place] ^= data.draw(st.integers(1, 255))
    if salts[place // 16 * 16 :][:16] == NO_SALT:
        return  # that is how an erased one looks
    with pytest.raises(Unopenable):
        restored(read_line(event_line(event)), bytes(salts))


@given(EVENTS, st.data())
def test_no_byte_of_a_line_can_be_changed_unseen(event: StoredEvent, data: st.DataObject) -> None:
    """Whoever holds the salts sees any change; and whoever does not, any but of sealed bytes."""
    line = bytearray(event_line(event))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    try:
        found = read_line(bytes(line))
        opened = restored(found, salts_of(event))
    except Unopenable:
        return
    assert leaf_hash(found.leaf) != found.hash or opened.hash != event.hash


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "space before": lambda line: b" " + line,
    "line feed": lambda line: line + b"\n",
    "space behind": lambda line: line + b" ",
    "a member more": lambda line: line[:-1] + b',"x":1}',
    "a group more": lambda line: line[:-2] + b',"x":null}}',
    "upper-case hash": lambda line: b'{"hash":"' + line[9:73].upper() + line[73:],
    "space in the leaf": lambda line: line.replace(b'"seq":', b'"seq" :'),
    "another number": lambda line: line.replace(b'"seq":1,', b'"seq":1.0,'),
    "a member twice": lambda line: line.replace(b'"v":1', b'"v":2,"v":1'),
    "another escape": lambda line: line.replace(b'"tenantId":"x"', b'"tenantId":"\\u0078"'),
    "sealed twice": lambda line: line.replace(b'"leaf":', b'"sealed":1,"leaf":'),
    "cut": lambda line: line[:-2],
    "no object": lambda _line: b"[]",
    "nothing": lambda _line: b"",
    "other types": lambda _line: b'{"hash":1,"leaf":{},"sealed":{"actor":null}}',
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_line_that_is_written_otherwise_is_refused(change: Callable[[bytes], bytes]) -> None:
    """Equal lines are equal bytes: there is one way of writing each."""
    line = event_line(hashed(_event(tenant_id="x", actor=_group(b"s" * 16, b'{"id":"u"}'))))
    changed = change(line)
    assert changed != line
    with pytest.raises(Unopenable):
        read_line(changed)


def test_base64_that_another_one_stands_for_is_refused() -> None:
    line = event_line(hashed(_event(actor=_group(b"s" * 16, b'{"id":"u"}'))))
    value = orjson.loads(line)["sealed"]["actor"].encode()
    assert value.endswith(b"=")
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = value.rstrip(b"=")
    other = last[:-1] + digits[digits.index(last[-1]) + 1 :][:1] + value[len(last) :]
    assert b64decode(other) == b64decode(value)
    with pytest.raises(Unopenable):
        read_line(line.replace(value, other))


def test_a_group_taken_out_while_its_salt_is_there_is_no_erased_one() -> None:
    event = hashed(_event(actor=_group(b"s" * 16, b"{}")))
    erased = erase(event, {"actor"}, 1)
    with pytest.raises(Unopenable, match="has a salt"):
        restored(read_line(event_line(erased)), salts_of(event))


def test_a_salt_of_a_group_that_nothing_commits_to_is_refused() -> None:
    event = hashed(_event())
    with pytest.raises(Unopenable, match="nothing commits"):
        restored(read_line(event_line(event)), b"s" * 16 + salts_of(event)[16:])


def test_another_value_under_the_same_salt_is_not_what_was_committed_to() -> None:
    """The tag fits, as its key is made of the salt alone; the commitment tells."""
    event = hashed(_event(actor=_group(b"s" * 16, b'{"id":"u-1"}')))
    forged = b64encode(seal_group(b"s" * 16 + b'{"id":"u-2"}'))
    line = event_line(event).replace(orjson.loads(event_line(event))["sealed"]["actor"].encode(), forged)
    with pytest.raises(Unopenable, match="committed"):
        restored(read_line(line), salts_of(event))


@given(st.binary(min_size=16, max_size=16), OBJECTS)
def test_groups_open_with_their_salt(salt: bytes, value: dict[str, object]) -> None:
    text = plain.dumps(value)
    assert open_group(salt, seal_group(salt + text)) == text


@given(HASHES, st.lists(st.binary(min_size=72, max_size=72), min_size=2, max_size=4, unique=True), st.integers(1, 2**40))
def test_a_line_of_salts_opens_at_its_place_in_its_object_and_generation_alone(key: bytes, lines: list[bytes], generation: int) -> None:
    cipher = Salts(key, NAME, generation)
    encrypted = [cipher.encrypt(number, line) for number, line in enumerate(lines)]
    assert [Salts(key, NAME, generation).decrypt(number, line) for number, line in enumerate(encrypted)] == lines
    others = [
        (1, cipher),
        (0, Salts(key, NAME, generation + 1)),
        (0, Salts(key, NAME + "x", generation)),
        (0, Salts(key[::-1] + b"x" * 32, NAME, generation)),
    ]
    for number, other in others:
        with pytest.raises(Unopenable):
            other.decrypt(number, encrypted[0])


@pytest.mark.parametrize("size", [0, 64, 71, 73])
def test_a_line_of_salts_has_one_size(size: int) -> None:
    cipher = Salts(bytes(32), NAME, 1)
    with pytest.raises(Unopenable):
        cipher.decrypt(0, cipher.encrypt(0, bytes(size)))


@pytest.mark.parametrize("line", [b"", b"!", b"AAAA", "é".encode()])
def test_what_is_no_line_of_salts_is_refused(line: bytes) -> None:
    with pytest.raises(Unopenable):
        Salts(bytes(32), NAME, 1).decrypt(0, line)


@given(st.integers(1, 2**53 - 1))
def test_the_header_says_of_which_events_the_salts_are(generation: int) -> None:
    line = keys_header(NAME, generation)
    assert read_header(line) == (NAME, generation)
    assert canonical(orjson.loads(line)) == line


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"generation":1,"object":"x","v":2}', b'{"generation":"1","object":"x","v":1}'])
def test_what_is_no_header_is_refused(line: bytes) -> None:
    with pytest.raises(Unopenable):
        read_header(line)


@given(MICROS)
def test_a_leafs_times_are_read_again(micros: int) -> None:
    assert micros_of(format_time(micros)) == micros


@pytest.mark.parametrize(
    "text", ["", "2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000000+", "2026-01-31T09:30:00,000000Z", "2026-13-31T09:30:00.000000Z"]
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|isoformat|month"):
        micros_of(text)


def _group(salt: bytes, value: bytes) -> Group:
    return Group(bytes.fromhex(plain.commitment(salt, value)), salt + value)


def _event(*, tenant_id: str | None = None, actor: Group | None = None) -> StoredEvent:
    return StoredEvent(
        seq=1,
        prev_hash=bytes(32),
        hash=b"",
        source_offset=0,
        source_index=0,
        id="019c1388-788f-761f-896f-368e373497b6",
        company_id="019c1388-7149-7198-9612-ea72d1f43751",
        workspace_id="019c1388-3aee-711b-a320-f82d163e96fc",
        project_id=None,
        tenant_id=tenant_id,
        data_region="US",
        timestamp=0,
        received_at=0,
        category="auth",
        action="login",
        outcome=None,
        trace_id="0af7651916cd43dd8448eb211c80319c",
        actor=actor,
        resource=None,
        context=None,
        metadata=None,
    )
