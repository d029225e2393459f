"""One event a key, the first one sequenced: whatever comes after it repeats it, leads to it or is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.accepted import open_envelope
from schemas.codec import Undecodable
from schemas.envelope import Receipt, envelope, seal
from schemas.idempotency import content_hashes
from schemas.incoming import IncomingEvent, read
from schemas.topics import Region
from streams.keys import First, Key
from streams.sequence import ChainEnd, Place, Refusal, Sequenced, SourceRecord, read_record, sequence
from tests.support import copyrows

COMPANY = "019c1388-7149-7198-9612-ea72d1f43751"
WORKSPACES = ("019c1388-3aee-711b-a320-f82d163e96fa", "019c1388-3aee-711b-a320-f82d163e96fb")
NOW = 1_770_000_000_000_000
SECRET, OLD_SECRET = b"s" * 32, b"o" * 32


class Sent(NamedTuple):
    """An event on the topic. Of one id there is one content: a claim says so."""

    workspace: int
    key: str | None
    id: int
    content: int

    @property
    def text_id(self) -> str:
        return f"019c1388-0000-7000-8{self.workspace:x}{self.content:x}0-{self.id:012x}"


SENT = st.builds(Sent, st.integers(0, 1), st.sampled_from([None, "a", "b", "c"]), st.integers(0, 3), st.integers(0, 1))


def incoming(key: str | None) -> IncomingEvent:
    event = read({"category": "auth", "action": "login"}, NOW)
    event.idempotency_key = key
    return event


def record(position: int, sent: Sent, hashes: bytes | None = None) -> SourceRecord:
    workspace = WORKSPACES[sent.workspace]
    receipt = Receipt(COMPANY, workspace, Region.US, NOW, "1" * 32, None)
    tenancy = codec.tenancy(COMPANY, workspace)
    content = hashes or content_hashes([SECRET], b"%d" % sent.content)
    item = seal(
        incoming(sent.key), receipt, id=sent.text_id, salts=bytes(64), tenancy=tenancy, content_hash=None if sent.key is None else content
    )
    return read_record(position, envelope(tenancy, [item]))


def stored_ids(result: Sequenced) -> list[str]:
    return [str(copyrows.decode(row)["id"]) for row in result.rows]


class Model:
    """What the contract says, event by event."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.aliases: dict[str, str] = {}
        self.conflicts: list[str] = []
        self.repeats = 0
        self._firsts: dict[tuple[int, str], Sent] = {}

    def take(self, sent: Sent) -> None:
        first = sent if sent.key is None else self._firsts.setdefault((sent.workspace, sent.key), sent)
        if first is sent:
            self.stored.append(sent.text_id)
        elif first.content != sent.content:
            self.conflicts.append(sent.text_id)
        elif first.id != sent.id:
            self.aliases[sent.text_id] = first.text_id
        else:
            self.repeats += 1


@given(st.lists(SENT, min_size=1, max_size=20), st.integers(0, 20))
@settings(max_examples=200)
def test_it_does_what_the_contract_says_however_the_records_are_cut_into_chunks(sent: list[Sent], cut: int) -> None:
    model = Model()
    for each in sent:
        model.take(each)
    records = [record(position, each) for position, each in enumerate(sent)]
    heads: dict[str, ChainEnd] = {}
    keys: dict[Key, First] = {}
    stored: list[str] = []
    aliases: dict[str, str] = {}
    conflicts: list[str | None] = []
    repeats = 0
    for part in (records[:cut], records[cut:]):
        if not part:
            continue
        result = sequence(0, part, heads, {}, keys)
        heads |= {workspace: move.after for workspace, move in result.moves.items()}
        assert not keys.keys() & result.keys.keys()
        keys |= {key: keyed.first for key, keyed in result.keys.items()}
        stored += stored_ids(result)
        aliases |= {alias.id: alias.first.event_id for alias in result.aliases}
        conflicts += [rejection.id for rejection in result.rejections]
        repeats += result.repeats
        assert {rejection.refusal.reason for rejection in result.rejections} <= {"IDEMPOTENCY_CONFLICT"}
    assert (stored, aliases, conflicts, repeats) == (model.stored, model.aliases, model.conflicts, model.repeats)


def test_a_key_stands_for_the_seq_of_its_event() -> None:
    result = sequence(0, [record(0, Sent(0, None, 1, 0)), record(1, Sent(0, "a", 2, 0)), record(2, Sent(0, "a", 3, 0))], {}, {})
    first = Sent(0, "a", 2, 0).text_id
    assert {key: keyed.first.seq for key, keyed in result.keys.items()} == {(WORKSPACES[0], b"a"): 2}
    assert [(alias.place, alias.first.seq, alias.first.event_id) for alias in result.aliases] == [(Place(2, 0), 2, first)]


def test_an_event_that_can_not_be_stored_leaves_its_key_to_the_next_one() -> None:
    refused: Mapping[Place, Refusal] = {Place(0, 0): Refusal("NOT_STORABLE", "")}
    second = Sent(0, "a", 2, 1)
    result = sequence(0, [record(0, Sent(0, "a", 1, 0)), record(1, second)], {}, refused)
    assert stored_ids(result) == [second.text_id]
    assert [rejection.refusal.reason for rejection in result.rejections] == ["NOT_STORABLE"]


def test_a_content_is_known_again_while_the_secret_is_rotated() -> None:
    """Some ingest processes have the new secret already, others do not."""
    sent = [Sent(0, "a", number, 0) for number in range(3)]
    hashes = [content_hashes(secrets, b"0") for secrets in ([OLD_SECRET], [SECRET, OLD_SECRET], [OLD_SECRET])]
    result = sequence(0, [record(n, each, hashed) for n, (each, hashed) in enumerate(zip(sent, hashes, strict=True))], {}, {})
    assert [alias.id for alias in result.aliases] == [each.text_id for each in sent[1:]]


def test_a_key_without_the_hash_of_its_content_does_not_act() -> None:
    tenancy = codec.tenancy(COMPANY, WORKSPACES[0])
    receipt = Receipt(COMPANY, WORKSPACES[0], Region.US, NOW, "1" * 32, None)
    items = [seal(incoming("a"), receipt, id=Sent(0, "a", n, 0).text_id, salts=bytes(64), tenancy=tenancy) for n in range(2)]
    assert len(sequence(0, [read_record(0, envelope(tenancy, items))], {}, {}).rows) == 2


@pytest.mark.parametrize("key", ["", "ä", "a\nb", "a" * 256])
def test_an_envelope_with_a_key_that_can_not_be_is_not_readable(key: str) -> None:
    """It would fail as an argument to PostgreSQL again and again, and stop its partition."""
    tenancy = codec.tenancy(COMPANY, WORKSPACES[0])
    receipt = Receipt(COMPANY, WORKSPACES[0], Region.US, NOW, "1" * 32, None)
    item = seal(incoming(key), receipt, id=Sent(0, "a", 1, 0).text_id, salts=bytes(64), tenancy=tenancy, content_hash=bytes(32))
    with pytest.raises(Undecodable):
        open_envelope(envelope(tenancy, [item]))
