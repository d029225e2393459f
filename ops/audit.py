"""Writing audit entries: an outbox row in the transaction of the action that it tells of (contract §8).

If the entry can't be written, neither is the action. ``ops.relay`` takes it from there.
"""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg

from ops.db import Connection, load_queries
from schemas.audit import ENTROPY_BYTES, Entry, Holder, Outcome, record
from schemas.topics import Region


class NoAuditWorkspace(RuntimeError):
    """There is no such company, or this connection may not see its AUDIT workspace: nothing may be done in its name."""


def operator() -> dict[str, str]:
    """The actor of what a command does: the login name of whoever runs it."""
    return {"id": getpass.getuser(), "type": "operator"}


def by_operator(action: str, target: Mapping[str, Any], detail: Mapping[str, Any], outcome: Outcome = Outcome.SUCCESS) -> Entry:
    """The entry of what a command did, or was refused."""
    return Entry(action, outcome, operator(), secrets.token_hex(16), target, detail)


async def write(connection: Connection, entry: Entry, *, region: Region, company_id: str | None, now: int) -> str:
    """Add the entry to the connection's transaction; returns its event id. Without a company it is the operator's.

    ``now`` is in microseconds. Raises ``NoAuditWorkspace`` and what ``schemas.audit.record`` raises.
    """
    query, arguments = _holder_query(company_id)
    row = await connection.fetchrow(query, *arguments)
    event_id, insert = _insertion(entry, _holder(region, None if row is None else tuple(row)), now)
    await connection.execute(_queries()["insert_entry"], *insert)
    return event_id


def write_sync(connection: psycopg.Connection[Any], entry: Entry, *, region: Region, company_id: str | None, now: int) -> str:
    """``write`` for commands, in the transaction of a psycopg connection."""
    cursor = psycopg.RawCursor(connection)
    query, arguments = _holder_query(company_id)
    row = cursor.execute(query.encode(), arguments).fetchone()
    event_id, insert = _insertion(entry, _holder(region, row), now)
    cursor.execute(_queries()["insert_entry"].encode(), insert)
    return event_id


@lru_cache
def _queries() -> Mapping[str, str]:
    return load_queries("ops", "audit.sql")


def _holder_query(company_id: str | None) -> tuple[str, tuple[str, ...]]:
    if company_id is None:
        return _queries()["operator_holder"], ()
    return _queries()["company_holder"], (company_id,)


def _holder(region: Region, row: Sequence[Any] | None) -> Holder:
    if row is None:
        raise NoAuditWorkspace
    company_id, workspace_id = row
    return Holder(region, str(company_id), str(workspace_id))


def _insertion(entry: Entry, holder: Holder, now: int) -> tuple[str, tuple[str, str, str, bytes]]:
    sealed = record(entry, holder, now=now, entropy=os.urandom(ENTROPY_BYTES))
    return sealed.event_id, (sealed.event_id, holder.company_id, holder.workspace_id, sealed.record)
