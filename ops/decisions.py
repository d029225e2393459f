"""What an operator decides about the service itself: kept, and told to the operators' audit."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Mapping
from typing import Any

import orjson

from ops import audit, db
from ops.clock import SystemClock
from schemas.audit import Entry, Outcome
from schemas.topics import Region


async def record(
    connection: db.Connection, decision: str, action: str, target: Mapping[str, Any], detail: Mapping[str, Any], *, region: Region
) -> None:
    """Add a decision to the connection's transaction, in the owner's role: ``UNPARK`` as it is kept, ``partition.unpark`` as it is told.

    Raises ``audit.NoAuditWorkspace``.
    """
    who = getpass.getuser()
    entry = Entry(action, Outcome.SUCCESS, {"id": who, "type": "operator"}, secrets.token_hex(16), target, detail)
    await connection.execute(db.load_queries("ops")["record_decision"], who, decision, orjson.dumps(detail).decode())
    await audit.write(connection, entry, region=region, company_id=None, now=SystemClock().micros())
