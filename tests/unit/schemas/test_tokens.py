"""Tokens: an event is found by each of its filter values and words, by those alone, and by its own company's alone."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import xxhash
from hypothesis import assume, example, given
from hypothesis import strategies as st

from schemas.canonical import canonical
from schemas.event import Group, StoredEvent
from schemas.leaf import commitment
from schemas.tokens import MAX_TEXT, MAX_WORDS, event_tokens, field_token, word_tokens, words
from tests.unit.schemas.strategies import OBJECTS, STORED, TEXT, TRICKY

COMPANY = "019c1388-7149-7198-9612-ea72d1f43751"
OTHER = "019c1388-3aee-711b-a320-f82d163e96fc"


def plain_token(company_id: str, field: str, value: str) -> int:
    hasher = xxhash.xxh3_64(seed=xxhash.xxh3_64(company_id.encode()).intdigest())
    hasher.update(field.encode() + b"\0" + value.encode())
    unsigned = hasher.intdigest()
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def plain_words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(one if re.fullmatch(r"\w", one) and one != "_" else " " for one in folded).split()


def plain_leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from plain_leaves(member)
    elif isinstance(value, list):
        for item in value:
            yield from plain_leaves(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield canonical(value).decode()


def plain_tokens(event: StoredEvent) -> set[int]:
    groups = {name: _parsed(getattr(event, name)) for name in ("actor", "resource", "metadata")}
    found = {
        ("workspaceId", event.workspace_id),
        ("projectId", event.project_id),
        ("tenantId", event.tenant_id),
        ("category", event.category),
        ("action", event.action),
        ("outcome", event.outcome),
        ("traceId", event.trace_id),
        ("actorId", groups["actor"].get("id")),
        ("actorEmail", groups["actor"].get("email")),
        ("resourceType", groups["resource"].get("type")),
        ("resourceId", groups["resource"].get("id")),
    }
    found |= {("action", event.action[: at + 1] + "*") for at, one in enumerate(event.action) if one == "."}
    texts = [event.action, *(leaf for group in groups.values() for leaf in plain_leaves(group))]
    found |= {("word", word) for text in texts for word in plain_words(text)}
    return {plain_token(event.company_id, field, value) for field, value in found if isinstance(value, str)}


def _parsed(group: Group | None) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(group.value) if group and group.value else {}
    return value


def _group(value: Any) -> Group:
    sealed = bytes(16) + canonical(value)
    return Group(commitment(sealed), sealed)


_ACTORS = st.fixed_dictionaries(
    {"id": TEXT | st.integers(1 - 2**53, 2**53 - 1), "email": TEXT, "n": st.integers(-9, 9) | st.floats(-1e6, 1e6)}
)
_PARTS = st.fixed_dictionaries({"type": TEXT, "id": st.none() | TEXT, "tags": st.lists(TEXT | OBJECTS, max_size=3)})
EVENTS = STORED | st.builds(
    lambda event, actor, resource: replace(event, actor=_group(actor), resource=_group(resource)), STORED, _ACTORS, _PARTS
)


@given(EVENTS)
def test_an_event_has_the_tokens_of_the_plain_rule(event: StoredEvent) -> None:
    tokens = event_tokens(event)
    assert set(tokens) == plain_tokens(event)
    assert tokens == sorted(set(tokens))


@given(TEXT | TRICKY | st.text(st.characters(exclude_categories=["Cs"])))
@example("Straße STRASSE ﬁn ½ e\u0301 \u0130stanbul snake_case 12.50")
def test_words_are_those_of_the_plain_rule_each_once(text: str) -> None:
    assert words(text) == list(dict.fromkeys(plain_words(text)))


def test_words_are_whole_and_case_and_form_do_not_matter() -> None:
    assert words("Anna.Müller+x@Example.com, ORDER_17 naïve ﬁle") == [
        "anna",
        "müller",
        "x",
        "example",
        "com",
        "order",
        "17",
        "naïve",
        "file",
    ]
    assert words("STRASSE") == words("straße")
    assert words("Mu\u0308ller") == words("MÜLLER")
    assert words("a_b") == ["a", "b"]
    assert words(" -_- ") == []


@given(st.sampled_from(["actorId", "action", "word"]), TEXT, TEXT)
def test_a_token_tells_fields_values_and_companies_apart(field: str, value: str, other: str) -> None:
    token = field_token(COMPANY, field, value)
    assert token == plain_token(COMPANY, field, value)
    assert -(2**63) <= token < 2**63
    assert token not in (field_token(OTHER, field, value), field_token(COMPANY, "tenantId", value))
    assert (token == field_token(COMPANY, field, other)) == (value == other)


def _event(**members: Any) -> StoredEvent:
    plain: dict[str, Any] = dict.fromkeys(("project_id", "tenant_id", "outcome", "actor", "resource", "context", "metadata"))
    plain |= {"seq": 1, "prev_hash": bytes(32), "hash": bytes(32), "source_offset": 0, "source_index": 0, "id": OTHER}
    plain |= {"company_id": COMPANY, "workspace_id": OTHER, "data_region": "EU", "timestamp": 0, "received_at": 0}
    return StoredEvent(**(plain | {"category": "user", "action": "user.login", "trace_id": "0" * 32} | members))


def test_an_action_is_found_by_each_prefix_that_ends_with_a_dot() -> None:
    tokens = set(event_tokens(_event(action="user.login.failed")))
    wanted = {field_token(COMPANY, "action", value) for value in ("user.login.failed", "user.login.*", "user.*")}
    assert wanted <= tokens
    assert not tokens & {field_token(COMPANY, "action", value) for value in ("user.login", "user", "user.login.failed.*")}


def test_words_come_from_values_and_not_from_names_nor_from_the_context() -> None:
    tokens = set(
        event_tokens(
            _event(
                actor=_group({"role": "Chief Auditor"}),
                context=_group({"ipAddress": "192.0.2.77"}),
                metadata=_group({"deep": [{"list": [True, None, 40.5, "Leaf"]}]}),
            )
        )
    )
    assert set(word_tokens(COMPANY, ["user", "login", "chief", "auditor", "40", "5", "leaf"])) <= tokens
    assert not tokens & set(word_tokens(COMPANY, ["role", "deep", "list", "true", "null", "none", "192", "77"]))


def test_an_erased_group_has_no_tokens() -> None:
    whole = _event(actor=_group({"id": "u-1", "email": "anna@example.com"}))
    erased = replace(whole, actor=Group(bytes(32), None))
    assert event_tokens(erased) == event_tokens(replace(whole, actor=None))


def test_the_words_after_the_first_two_thousand_can_not_be_found() -> None:
    tokens = set(event_tokens(_event(action="first", metadata=_group({"all": [f"w{number}" for number in range(MAX_WORDS + 5)]}))))
    assert set(word_tokens(COMPANY, ["first", f"w{MAX_WORDS - 2}"])) <= tokens
    assert not tokens & set(word_tokens(COMPANY, [f"w{MAX_WORDS - 1}"]))


def test_the_text_after_its_first_part_can_not_be_found() -> None:
    tokens = set(event_tokens(_event(action="first", metadata=_group({"a": "x" * MAX_TEXT, "b": "late"}))))
    assert set(word_tokens(COMPANY, ["first"])) <= tokens
    assert not tokens & set(word_tokens(COMPANY, ["late"]))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    ["\u0301" * 32_000 + "\u0323" * 32_000, "\uff9e\u0323" * 20_000, "\ufdfa" * 43_000],
    ids=["marks", "halfwidth marks", "expanding"],
)
def test_no_text_takes_for_ever(text: str) -> None:
    """Unicode's normalisation sorts a run of marks in time that grows with its square: 14 s for one event."""
    assert len(event_tokens(_event(metadata=_group({"text": text})))) < MAX_WORDS
    assert len(words(text)) <= 18 * len(text)


@given(st.text("ae\u0301\u0323\u0308 ", max_size=40), st.integers(1000, 1200))
def test_long_texts_have_the_words_of_short_ones(text: str, before: int) -> None:
    """As long as no more than thirty marks follow each other."""
    assume(re.search("[\u0301\u0323\u0308]{31}", text) is None)
    assert words("." * before + " " + text) == words(text)


@pytest.mark.parametrize(
    ("field", "value", "token"),
    [
        ("actorId", "user-17", 6279829189570912686),
        ("action", "user.*", 8827807425878116273),
        ("word", "müller", 7940613163531932048),
    ],
)
def test_tokens_never_change_since_they_are_stored(field: str, value: str, token: int) -> None:
    assert field_token(COMPANY, field, value) == token
