"""Two events under one key are the same exactly when their canonical forms are, the key aside."""

from __future__ import annotations

import hmac
import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import parse
from schemas.idempotency import content_hashes, is_same_content
from schemas.incoming import IncomingEvent, read
from tests.unit.schemas import plain
from tests.unit.schemas.strategies import POSTED

LONG_AHEAD = 2**60
KEYS = st.from_regex(r"[\x20-\x7e]{1,255}", fullmatch=True)
OLD, NEW = b"o" * 32, b"n" * 32


def spelled(value: Any, dice: Random) -> str:
    """The same value as JSON in another order, with other white space and other notations of its numbers and strings."""
    space = dice.choice(["", " ", "\n\t"])
    if isinstance(value, dict):
        members = [f"{spelled(name, dice)}{space}:{spelled(member, dice)}" for name, member in value.items()]
        dice.shuffle(members)
        return "{" + f",{space}".join(members) + "}"
    if isinstance(value, list):
        return "[" + f"{space},".join(spelled(item, dice) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=dice.random() < 0.5)
    if type(value) is int and value:
        return dice.choice([str(value), f"{value}.0", f"{value}e0", f"{value}0E-1"])
    if type(value) is float and value:
        return dice.choice([repr(value), f"{Decimal(repr(value)):.30e}"])
    return json.dumps(value)


def incoming(text: str) -> IncomingEvent:
    return read(parse(text.encode()), LONG_AHEAD)


def plain_content(text: str) -> bytes:
    """As the contract puts it: JCS of the event as sent without the key."""
    event = json.loads(text)
    event.pop("idempotencyKey", None)
    return rfc8785.dumps(event)


@given(POSTED, KEYS, st.randoms(use_true_random=False))
def test_the_content_is_the_event_without_its_key_however_it_is_written(value: dict[str, Any], key: str, dice: Random) -> None:
    value.pop("idempotencyKey", None)
    keyless, keyed = spelled(value, dice), spelled({"idempotencyKey": key} | value, dice)
    expected = plain_content(keyless)
    assert plain_content(keyed) == expected
    assert incoming(keyless).content == incoming(keyed).content == expected
    assert incoming(spelled({"idempotencyKey": None} | value, dice)).content == expected


@given(POSTED, POSTED)
def test_other_events_have_other_contents(one: dict[str, Any], other: dict[str, Any]) -> None:
    one, other = ({name: member for name, member in each.items() if name != "idempotencyKey"} for each in (one, other))
    same = incoming(json.dumps(one)).content == incoming(json.dumps(other)).content
    assert same == (plain.dumps(one) == plain.dumps(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{}", '{"outcome":null}'),
        ("{}", '{"metadata":{}}'),
        ('{"metadata":{"idempotencyKey":"a"}}', '{"metadata":{"idempotencyKey":"b"}}'),
        ('{"metadata":{"a":1}}', '{"metadata":{"a":"1"}}'),
        ('{"metadata":{"a":[1,2]}}', '{"metadata":{"a":[2,1]}}'),
    ],
)
def test_a_member_that_was_sent_counts(one: str, other: str) -> None:
    texts = (f'{{"category":"auth","action":"login",{each[1:]}'.replace(",}", "}") for each in (one, other))
    assert len({incoming(text).content for text in texts}) == 2


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_contents_are_compared_by_their_hmacs(one: bytes, other: bytes) -> None:
    assert content_hashes([NEW, OLD], one) == hmac.new(NEW, one, "sha256").digest() + hmac.new(OLD, one, "sha256").digest()
    for first, second in (([OLD], [OLD]), ([OLD], [NEW, OLD]), ([NEW, OLD], [NEW]), ([NEW, OLD], [NEW, OLD])):
        assert is_same_content(content_hashes(first, one), content_hashes(second, other)) == (one == other)


def test_contents_under_secrets_of_which_none_is_shared_are_not_known_to_be_the_same() -> None:
    assert not is_same_content(content_hashes([OLD], b"x"), content_hashes([NEW], b"x"))
