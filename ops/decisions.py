"""What an operator decides about the service itself: kept, and told to the operators' audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ops import audit, db
from ops.clock import SystemClock
from schemas.audit import Outcome
from schemas.topics import Region


async def record(
    connection: db.Connection, decision: str, action: str, target: Mapping[str, Any], detail: Mapping[str, Any], *, region: Region
) -> None:
    """Add a decision to the connection's transaction, in the owner's role: ``UNPARK`` as it is kept, ``partition.unpark`` as it is told.

    Raises ``audit.NoAuditWorkspace``.
    """
    entry = audit.by_operator(action, target, detail)
    await connection.execute(db.load_queries("ops")["record_decision"], entry.actor["id"], decision, orjson.dumps(detail).decode())
    await audit.write(connection, entry, region=region, company_id=None, now=SystemClock().micros())


async def refuse(connection: db.Connection, action: str, target: Mapping[str, Any], reason: str, *, region: Region) -> None:
    """Tell the audit that a decision was not carried out; in another transaction than the one in which it was refused."""
    entry = audit.by_operator(action, target, {"region": region.value, "reason": reason}, Outcome.DENIED)
    await audit.write(connection, entry, region=region, company_id=None, now=SystemClock().micros())
