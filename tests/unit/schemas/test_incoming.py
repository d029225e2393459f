"""The rule book of what may be posted, against the same rules written plainly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import format_time
from schemas.incoming import (
    MAX_AHEAD_MICROS,
    MAX_EVENT_BYTES,
    EventTooLarge,
    IncomingEvent,
    InvalidEvent,
    field_name,
    parse_time,
    read,
)
from tests.unit.schemas import plain, plain_rules
from tests.unit.schemas.strategies import MICROS, POSTED, TEXT, TRICKY, VALUES

NOW = 1_770_000_000_000_000
LEAST = {"category": "auth", "action": "login"}
TIMES = st.one_of(
    MICROS.map(plain.text_of_micros),
    st.integers(-3, 3).map(lambda off: plain.text_of_micros(NOW + MAX_AHEAD_MICROS + off)),
    st.from_regex(
        r"[0-2][09][0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,7})?([Zz]|[+-][0-2][0-9]:[0-9]{2}|)",
        fullmatch=True,
    ),
)
# Just right, just too long, of the wrong characters, of the wrong type.
ODD = st.one_of(
    VALUES,
    st.sampled_from(
        ["", "a", "A", "a" * 64, "a" * 65, "x/y:Z", "a\n", "é", "SUCCESS", "success", "x" * 128, "x" * 129, "k" * 255, "k" * 256]
    ),
    st.sampled_from(["😀" * 63 + "abc", "😀" * 63 + "abcd", "é" * 127 + "a", "é" * 128, "\x7f", "\x1f", "0" * 36, "٣"]),
    st.uuids().map(str) | st.uuids().map(lambda made: str(made).upper()) | st.uuids().map(lambda made: f"{{{made}}}"),
)
GROUPS = ODD | st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "type", "email", "role", "name", "x"), ODD | TEXT))
SPOILT = st.builds(
    lambda event, changes, dropped: {name: value for name, value in {**event, **changes}.items() if name not in dropped},
    POSTED,
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(plain_rules.FIELDS, ODD)
        | dict.fromkeys(("actor", "resource", "metadata"), GROUPS)
        | {"timestamp": TIMES | ODD, "unknown": ODD, "Category": ODD, "": ODD},
    ),
    st.sets(st.sampled_from(["category", "action", "actor"]), max_size=1),
)


def findings(value: Any) -> list[tuple[str | None, str]]:
    try:
        read(value, NOW)
    except InvalidEvent as error:
        return error.findings
    return []


@given(SPOILT)
@settings(max_examples=400)
def test_the_same_fields_are_found_wrong(value: dict[str, Any]) -> None:
    assert {field or "" for field, _ in findings(value)} == plain_rules.broken(value, NOW)


@given(POSTED)
def test_a_valid_event_is_read_as_sent(value: dict[str, Any]) -> None:
    actor, resource = value.get("actor") or {}, value.get("resource") or {}
    groups = {name: None if value.get(name) is None else plain.dumps(value[name]) for name in ("actor", "resource", "metadata")}
    text = plain.dumps(value)
    now = 2**60
    assert read(value, now) == IncomingEvent(
        category=value["category"],
        action=value["action"],
        timestamp=None if value.get("timestamp") is None else plain.micros(value["timestamp"]),
        project_id=value.get("projectId"),
        tenant_id=value.get("tenantId"),
        outcome=value.get("outcome"),
        actor=groups["actor"],
        resource=groups["resource"],
        metadata=groups["metadata"],
        actor_id=actor.get("id"),
        actor_email=actor.get("email"),
        resource_type=resource.get("type"),
        resource_id=resource.get("id"),
        idempotency_key=value.get("idempotencyKey"),
        size=len(text),
        colons=text.count(b":"),
        content=plain.dumps({name: member for name, member in value.items() if name != "idempotencyKey"}),
    )


@pytest.mark.parametrize("value", [None, True, 1, "text", [], [LEAST]])
def test_only_objects_are_events(value: Any) -> None:
    assert findings(value) == [(None, "an event must be a JSON object")]


@pytest.mark.parametrize(
    ("field", "longest", "longer"),
    [
        ("category", "a" * 64, "a" * 65),
        ("action", "A" * 128, "A" * 129),
        ("tenantId", "😀" * 128, "😀" * 129),
        ("idempotencyKey", "~" * 255, "~" * 256),
        ("actor.email", "é" * 127 + "a", "é" * 128),
        ("resource.id", "😀" * 63 + "abc", "😀" * 64),
    ],
)
def test_texts_at_their_limit(field: str, longest: str, longer: str) -> None:
    def event(text: str) -> dict[str, Any]:
        name, _, member = field.partition(".")
        return LEAST | {name: {member: text} if member else text}

    assert findings(event(longest)) == []
    assert [name for name, _ in findings(event(longer))] == [field]


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"metadata": {"a": [1, 2**53]}}, "metadata.a[1]"),
        ({"metadata": {"a": "\0"}}, "metadata.a"),
        ({"actor": {"b\0": 1}}, "actor.b\\u0000"),
        ({"tenantId": "a\0"}, "tenantId"),
        ({"metadata": {"k" * 300: 2**53}}, "metadata." + "k" * 247),
    ],
)
def test_json_that_is_not_admissible_names_the_place(members: dict[str, Any], field: str) -> None:
    ((name, _),) = findings(LEAST | members)
    assert name == field


def test_an_event_may_be_128_kib_in_canonical_form_and_not_a_byte_more() -> None:
    spare = MAX_EVENT_BYTES - read(LEAST | {"metadata": {"a": ""}}, NOW).size
    assert read(LEAST | {"metadata": {"a": "x" * spare}}, NOW).size == MAX_EVENT_BYTES
    with pytest.raises(EventTooLarge):
        read(LEAST | {"metadata": {"a": "x" * (spare + 1)}}, NOW)


@given(MICROS)
def test_times_are_written_as_they_are_read(micros: int) -> None:
    assert format_time(micros) == plain.text_of_micros(micros)
    assert parse_time(format_time(micros)) == micros


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-31T14:59:59.5+05:30", "2026-01-31T09:29:59.500000Z"),
        ("2026-01-31t09:30:00z", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31T09:30:00-00:00", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31T09:30:00.123456-23:59", "2026-02-01T09:29:00.123456Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_good_times(text: str, same: str) -> None:
    assert format_time(parse_time(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T09:30:00",
        "2026-01-31 09:30:00Z",
        "2026-01-31T09:30Z",
        "2026-01-31T09:30:00.1234567Z",
        "2026-01-31T09:30:00.Z",
        "2026-01-31T09:30:00,5Z",
        "2026-01-31T09:30:00+0530",
        "2026-01-31T09:30:00+05",
        "2026-01-31T09:30:00+24:00",
        "2026-01-31T09:30:00+01:60",
        "2026-01-31T09:30:00+01:99",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:60:00Z",
        "2016-12-31T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
        "2026-W05-6T09:30:00Z",
        "20260131T093000Z",
        "２026-01-31T09:30:00Z",
        "2026-01-31T09:30:00Z\n",
        "1769851800",
    ],
)
def test_bad_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|exists"):
        parse_time(text)


@pytest.mark.parametrize(
    ("path", "name"),
    [((), None), (("a",), "a"), (("metadata", "items", 3, "price"), "metadata.items[3].price"), ((0, "a"), "[0].a"), (("",), None)],
)
def test_the_name_of_a_path(path: tuple[str | int, ...], name: str | None) -> None:
    assert field_name(path) == name


@given(st.lists(TEXT | TRICKY | st.integers(0, 999), max_size=3))
def test_findings_are_never_long(path: list[str | int]) -> None:
    assert len(field_name((*path, "k" * 1000)) or "") <= 256
