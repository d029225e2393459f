"""Queries over a few hundred events, and a slow, plain answer to each that knows nothing of how they are found."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from hypothesis import strategies as st

from api.asked import EventFilter
from schemas.event import StoredEvent
from tests.support.chains import BASE_TIME, SECOND, Chain

MOMENTS = 12
"""So few that many events share one."""
ACTIONS = ("user.login", "user.login.failed", "user", "userx.y", "file.read", ".odd", "a..b")
PREFIXES = ("user.*", "user.login.*", "file.*", ".*", "a..*", "none.*")
WORDS = ("Ada", "straße", "naïve café", "ＡＢＣ", "report_final", "42", "3.5", "ada@test", "İstanbul")
QUERIES = ("ada", "ADA test", "STRASSE", "cafe", "café", "abc", "final REPORT", "42", "5", "user login", "ada 42", "i̇stanbul", "nobody")
VALUES: dict[str, tuple[str, ...]] = {
    "category": ("auth", "file", "team"),
    "action": (*ACTIONS, *PREFIXES),
    "outcome": ("SUCCESS", "FAILURE", "DENIED"),
    "projectId": tuple(str(UUID(int=number)) for number in (1, 2, 9)),
    "tenantId": ("cust-1", "cust-2", "nobody", "ünï"),
    "actorId": ("u-1", "u-2", "U-1", "nobody"),
    "actorEmail": ("ada@test", "Ada@test", "nobody@test"),
    "resourceType": ("door", "file", "nothing"),
    "resourceId": ("r-1", "r-2", "r-9"),
    "traceId": tuple(f"{number:032x}" for number in (1, 2, 3, 99)),
}


@dataclass(frozen=True)
class Known:
    """An event as the answer to a query depends on it."""

    event: StoredEvent
    key: str | None
    searchable: bool


def make_events(chain: Chain, count: int, rng: random.Random) -> list[StoredEvent]:
    """The chain's next events, of few values, many of them absent."""

    def some(*values: Any) -> Any:
        return rng.choice((None, *values))

    def group(**members: Any) -> bytes | None:
        present = {name: value for name, value in sorted(members.items()) if value is not None}
        return orjson.dumps(present, option=orjson.OPT_SORT_KEYS) if rng.random() < 0.85 else None

    return [
        chain.event(
            at=BASE_TIME + rng.randrange(MOMENTS) * SECOND,
            received_at=BASE_TIME + rng.randrange(MOMENTS) * SECOND,
            category=rng.choice(VALUES["category"]),
            action=rng.choice(ACTIONS),
            outcome=some("SUCCESS", "FAILURE"),
            project_id=some(*VALUES["projectId"][:2]),
            tenant_id=some(*VALUES["tenantId"][:2], "ünï"),
            trace_id=rng.choice(VALUES["traceId"][:3]),
            actor=group(id=some("u-1", "u-2", "U-1"), email=some("ada@test", "Ada@test"), name=some(*WORDS)),
            resource=group(id=some("r-1", "r-2"), type=some("door", "file")),
            metadata=group(note=some(*WORDS), deep=[{"x": some(*WORDS)}, some(42, 3.5, True)]),
        )
        for _ in range(count)
    ]


def answer(known: Iterable[Known], asked: EventFilter) -> list[str]:
    """The ids of all events that are asked for, in order."""
    found = [each.event for each in known if _is_asked(each, asked)]
    return [event.id for event in sorted(found, key=_order(asked), reverse=asked.descending)]


def _order(asked: EventFilter) -> Callable[[StoredEvent], tuple[Any, ...]]:
    if asked.by_seq:
        return lambda event: (event.seq,)
    if asked.workspace_id is None:
        return lambda event: (event.timestamp, event.id)
    return lambda event: (event.timestamp, event.seq)


def _is_asked(each: Known, asked: EventFilter) -> bool:
    event = each.event
    received_start = event.received_at if asked.received_start is None else asked.received_start
    received_end = event.received_at + 1 if asked.received_end is None else asked.received_end
    return (
        asked.workspace_id in (None, event.workspace_id)
        and asked.start <= event.timestamp < asked.end
        and received_start <= event.received_at < received_end
        and all(_has(event, name, value) for name, value in asked.plain.items())
        and asked.idempotency_key in (None, each.key)
        and (asked.words is None or ((each.searchable or asked.idempotency_key is not None) and _says(event, asked.words)))
    )


def _has(event: StoredEvent, name: str, value: str) -> bool:
    actor, resource = _members(event, "actor"), _members(event, "resource")
    if name == "action" and value.endswith(".*"):
        return event.action.startswith(value[:-1])
    return bool(
        value
        == {
            "category": event.category,
            "action": event.action,
            "outcome": event.outcome,
            "projectId": event.project_id,
            "tenantId": event.tenant_id,
            "actorId": actor.get("id"),
            "actorEmail": actor.get("email"),
            "resourceType": resource.get("type"),
            "resourceId": resource.get("id"),
            "traceId": event.trace_id,
        }[name]
    )


def _members(event: StoredEvent, name: str) -> dict[str, Any]:
    group = getattr(event, name)
    members: dict[str, Any] = {} if group is None or group.value is None else orjson.loads(group.value)
    return members


def _says(event: StoredEvent, text: str) -> bool:
    said = {word for value in (event.action, *map(str, _leaves([_members(event, name) for name in ("actor", "resource", "metadata")])))
            for word in _words(value)}  # fmt: skip
    return said >= set(_words(text))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in _leaves(item)]
    return [] if isinstance(value, bool) or value is None else [value]


def _words(text: str) -> Sequence[str]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return [word for word in re.split(r"\W|_", folded) if word]


_PLAIN = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()})
_FEW = _PLAIN.map(lambda plain: dict(list(plain.items())[:3]))
_TIMES = st.integers(BASE_TIME - SECOND, BASE_TIME + (MOMENTS + 1) * SECOND) | st.integers(0, MOMENTS).map(lambda n: BASE_TIME + n * SECOND)


def filters(workspaces: Sequence[str], keys: Sequence[str]) -> st.SearchStrategy[EventFilter]:
    """Any query; by seq where it is of one workspace."""
    orders = st.tuples(st.none(), st.just(False)) | st.tuples(st.sampled_from(workspaces), st.booleans())
    return st.builds(
        lambda order, start, end, **others: EventFilter(order[0], start, end, by_seq=order[1], **others),
        order=orders,
        start=st.just(0) | _TIMES,
        end=st.just(2**52) | _TIMES,
        descending=st.booleans(),
        received_start=st.none() | _TIMES,
        received_end=st.none() | _TIMES,
        plain=st.just({}) | _FEW,
        idempotency_key=st.none() | st.none() | st.sampled_from(keys),
        words=st.none() | st.sampled_from(QUERIES),
    )
