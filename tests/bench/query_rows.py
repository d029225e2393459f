"""Stored events to ask for, bulk-loaded: the shape of a company that searches its log, cheap to make.

Half of them belong to the first workspace. Values are drawn with steep frequencies, so that there is a rare and a frequent
one to every filter. Hashes are made up: readers take the rows for real, ``hyrelog verify`` would not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg

from ops.seed import Tenant
from schemas import tokens
from tests.support.chains import BASE_TIME, COLUMNS, SECOND

SEARCH_COLUMNS = ("workspace_id", "seq", "company_id", "occurred_at", "received_at", "id", "tokens")
_KEY_COLUMNS = ("workspace_id", "key", "company_id", "seq", "event_id", "content")
_FIRST_PARTITION = 1_000_000
"""From here on there is no partition of any topic: the rows come from nowhere. Each company has one of its own."""
FIRST_RECEIPT = BASE_TIME
"""When the first one was received, in microseconds; another one follows each second."""
_CHUNK = 10_000
_CATEGORIES = ("user", "auth", "billing", "file", "team", "config", "export", "security")
_OUTCOMES = ("SUCCESS",) * 90 + ("FAILURE",) * 8 + ("DENIED",) * 2
_VERBS = ("viewed", "changed", "shared", "removed", "created", "moved", "copied", "locked")
_TYPES = ("document", "folder", "account", "invoice", "report", "key")
_LATE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Asked:
    """What filters of the API find in the loaded rows, by frequency."""

    frequent_actor: str = "usr_00000001"
    rare_actor: str = "usr_00004000"
    rare_resource: str = "res_00012345"
    tenant: str = "cust_0007"
    action: str = "document.shared"
    rare_action: str = "key.locked"
    frequent_word: str = "quarterly"
    rare_word: str = "batch12345"


class Rows:
    """Events of a company and their rows of the search table, in the order of their receipt."""

    def __init__(self, tenant: Tenant) -> None:
        self._company = tenant.id
        self._partition = _FIRST_PARTITION + tenant.id.int % 1_000_000
        self._workspaces = tenant.workspaces
        self._random = random.Random(tenant.id.int)
        self._heads: dict[UUID, int] = dict.fromkeys((workspace.id for workspace in tenant.workspaces), 0)

    def chunks(self, count: int) -> Iterator[list[tuple[tuple[object, ...], tuple[object, ...]]]]:
        """That many events in chunks, each with its row of the search table. Times are in microseconds."""
        numbers = iter(range(count))
        while taken := list(islice(numbers, _CHUNK)):
            yield [self._row(number) for number in taken]

    def _row(self, number: int) -> tuple[tuple[object, ...], tuple[object, ...]]:
        pick = self._random.random
        place = self._workspaces[0 if number % 2 else int(len(self._workspaces) * pick())]
        self._heads[place.id] = seq = self._heads[place.id] + 1
        received = FIRST_RECEIPT + number * SECOND
        occurred = received - int(_LATE_SECONDS * SECOND * pick() ** 4)
        event_id, trace = UUID(int=self._random.getrandbits(128)), UUID(trace_of(number // 3))
        kind, verb = _TYPES[int(len(_TYPES) * pick() ** 2)], _VERBS[int(len(_VERBS) * pick() ** 2)]
        values = {
            "category": _CATEGORIES[int(len(_CATEGORIES) * pick() ** 2)],
            "action": f"{kind}.{verb}",
            "outcome": _OUTCOMES[int(100 * pick())],
            "tenantId": f"cust_{int(300 * pick() ** 2):04}",
            "actorId": f"usr_{int(5000 * pick() ** 3):08}",
            "resourceType": kind,
            "resourceId": f"res_{int(100_000 * pick()):08}",
        }
        email = f"{values['actorId']}@acme.example"
        texts = (f"batch{number // 20}", f"{values['actorId']} {email} {kind} {values['resourceId']} {kind} {verb}")
        numbers = self._tokens(place.id, trace, place.project_id, {**values, "actorEmail": email}, texts)
        groups = _groups(values["actorId"], email, kind, values["resourceId"], texts[0])
        ids = (event_id, self._company, place.id)
        event = (
            seq, number, occurred, received, *ids, place.project_id, trace, self._partition, 0, date(2026, 1, 1), bytes(32), bytes(32),
            b"\1" * 128, values["category"], values["action"], values["outcome"], values["tenantId"], *groups,
            values["actorId"], email, kind, values["resourceId"], None,
        )  # fmt: skip
        return event, (place.id, seq, self._company, occurred, received, event_id, numbers)

    def _tokens(self, workspace: UUID, trace: UUID, project: UUID | None, values: dict[str, str], texts: Sequence[str]) -> list[int]:
        """As ``tokens.event_tokens`` makes them."""
        company = str(self._company)
        common = _frequent_tokens(company, str(workspace), str(project), values["action"])
        own = [tokens.field_token(company, "traceId", trace.hex)]
        own += [_cached_token(company, name, value) for name, value in values.items()]
        own += tokens.word_tokens(company, tokens.words(" ".join(texts)))
        return sorted({*common, *own})


def trace_of(number: int) -> str:
    """The trace id of three events in a row."""
    return f"{number + 1:032x}"


@lru_cache(maxsize=200_000)
def _cached_token(company: str, name: str, value: str) -> int:
    return tokens.field_token(company, name, value)


@lru_cache(maxsize=50_000)
def _frequent_tokens(company: str, workspace: str, project: str, action: str) -> tuple[int, ...]:
    pairs = (("workspaceId", workspace), ("projectId", project), ("action", f"{action.partition('.')[0]}.*"))
    words = tokens.words("Ada Lovelace Quarterly report web en GB comment 2026 1 4")
    return (*(tokens.field_token(company, *pair) for pair in pairs), *tokens.word_tokens(company, words))


def _groups(actor: str, email: str, kind: str, resource: str, batch: str) -> tuple[bytes, bytes, None, bytes]:
    salt = bytes(16)
    return (
        salt + f'{{"email":"{email}","id":"{actor}","name":"Ada Lovelace","type":"user"}}'.encode(),
        salt + f'{{"id":"{resource}","name":"Quarterly report","type":"{kind}"}}'.encode(),
        None,
        salt + f'{{"batch":"{batch}","locale":"en-GB","note":"comment","platform":"web","release":"2026.1.4"}}'.encode(),
    )


def _keys(events: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
    """One event in ten has an idempotency key, ``key-`` and the number that is its source offset."""
    return [(each[6], f"key-{each[1]}", each[5], each[0], each[4], bytes(32)) for each in events if each[1] % 10 == 0]


async def load(connection: asyncpg.Connection[asyncpg.Record], tenant: Tenant, count: int) -> None:
    """Store that many events of a company that has none, all of them searchable. The connection may do anything, in microseconds.

    Heads of chains are not moved: nobody has announced these events, and nobody is to wait for it.
    """
    for chunk in Rows(tenant).chunks(count):
        events: list[Any] = [event for event, _ in chunk]
        await connection.copy_records_to_table("events", records=events, columns=COLUMNS)
        await connection.copy_records_to_table("event_key", records=_keys(events), columns=_KEY_COLUMNS)
        await connection.copy_records_to_table("search", records=[row for _, row in chunk], columns=SEARCH_COLUMNS)
    await connection.execute("VACUUM (ANALYZE) events, search, event_key, workspace")
