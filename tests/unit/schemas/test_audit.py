"""Audit entries: what is written is an event like any other, complete before it is committed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import audit
from schemas.accepted import FIELDS, AcceptedEvent, open_envelope
from schemas.audit import ENTROPY_BYTES, Entry, Holder, Outcome
from schemas.context import request_context
from schemas.event import SALT_BYTES
from schemas.incoming import EventTooLarge, InvalidEvent
from schemas.topics import Region

NOW = 1_780_000_000_123_456
TRACE = "0af7651916cd43dd8448eb211c80319c"
HOLDER = Holder(Region.EU, "0190163d-8694-739b-aea5-966c26f8ad90", "0190163d-8694-739b-aea5-966c26f8ad91")
KEY = {"id": "0190163d-8694-739b-aea5-966c26f8ad92", "type": "api_key"}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


def made(entry: Entry, entropy: bytes = bytes(range(ENTROPY_BYTES))) -> AcceptedEvent:
    """The one event of the entry's record, as the chain worker reads it."""
    sealed = audit.record(entry, HOLDER, now=NOW, entropy=entropy)
    opened = open_envelope(sealed.record)
    assert (opened.company_id, opened.workspace_id) == HOLDER[1:]
    (event,) = opened.events
    assert event.id_text == sealed.event_id
    return event


def field(event: AcceptedEvent, name: str) -> bytes | None:
    return event.fields[FIELDS.index(name)]


def value_of(event: AcceptedEvent, name: str) -> Any:
    group = field(event, name)
    return None if group is None else json.loads(group[SALT_BYTES:])


def entry(**changes: Any) -> Entry:
    return Entry(**{"action": "api_key.create", "outcome": Outcome.SUCCESS, "actor": KEY, "trace_id": TRACE} | changes)


@given(
    st.sampled_from(Outcome),
    TEXT,
    st.none() | st.dictionaries(TEXT, TEXT, max_size=4),
    st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES),
)
def test_an_entry_is_an_event_with_all_that_was_said(outcome: Outcome, name: str, metadata: dict[str, str] | None, entropy: bytes) -> None:
    context = request_context("192.0.2.1", b"curl/8")
    event = made(entry(outcome=outcome, target={"type": "api_key", "name": name}, metadata=metadata, context=context), entropy)
    texts = [field(event, name) for name in ("category", "action", "outcome", "actor_id", "resource_type")]
    assert texts == [b"admin", b"api_key.create", outcome.value.encode(), KEY["id"].encode(), b"api_key"]
    assert event.trace_id.hex() == TRACE
    assert event.timestamp == event.received_at == NOW
    assert value_of(event, "actor") == KEY
    assert value_of(event, "resource") == {"type": "api_key", "name": name}
    assert value_of(event, "metadata") == metadata
    assert value_of(event, "context") == {"ipAddress": "192.0.2.1", "userAgent": "curl/8"}


def test_the_same_input_gives_the_same_bytes_and_other_randomness_another_id() -> None:
    """A repeat is recognised by its id and commitments."""
    first, second = (audit.record(entry(), HOLDER, now=NOW, entropy=bytes(ENTROPY_BYTES)) for _ in range(2))
    assert first == second
    assert audit.record(entry(), HOLDER, now=NOW, entropy=b"\1" * ENTROPY_BYTES).event_id != first.event_id


def test_each_group_has_a_salt_of_its_own_that_the_id_does_not_tell() -> None:
    event = made(entry(target={"type": "api_key"}, metadata={"a": 1}, context=b"{}"))
    salts = {group[:SALT_BYTES] for name in ("actor", "resource", "context", "metadata") if (group := field(event, name))}
    assert len(salts) == 4
    assert not any(salt.hex()[:8] in event.id.hex() for salt in salts)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"action": "no spaces"}, InvalidEvent),
        ({"actor": {"id": "x" * 256}}, InvalidEvent),
        ({"target": {"type": 7}}, InvalidEvent),
        ({"metadata": {"name": "a\0b"}}, InvalidEvent),
        ({"metadata": {"x": "y" * (129 << 10)}}, EventTooLarge),
        ({"trace_id": TRACE.upper()}, ValueError),
    ],
)
def test_what_could_not_be_stored_is_refused_at_once(changes: dict[str, Any], refusal: type[Exception]) -> None:
    """Accepted here and refused by the chain worker, an action would go without its entry."""
    with pytest.raises(refusal):
        audit.record(entry(**changes), HOLDER, now=NOW, entropy=bytes(ENTROPY_BYTES))
