"""The search table: after the last fault each stored event has one row in it, with the event's own tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from schemas.tokens import event_tokens
from tests.faults.standing import DRAIN_SECONDS, superuser

if TYPE_CHECKING:
    from schemas.event import StoredEvent
    from schemas.topics import Region
    from tests.faults.checker import Stored, Verdict
    from tests.faults.cluster import Cluster

_REACHED = "SELECT workspace_id, max(seq) AS seq FROM search WHERE workspace_id = ANY($1::uuid[]) GROUP BY workspace_id"
_ROWS = """
SELECT workspace_id, seq, company_id, occurred_at, received_at, id, tokens
FROM search WHERE workspace_id = ANY($1::uuid[]) ORDER BY workspace_id, seq
"""
_DEAD = "SELECT count(*) FROM search_dead"


class Row(NamedTuple):
    """A row of the search table."""

    workspace_id: str
    seq: int
    company_id: str
    occurred_at: int
    received_at: int
    id: str
    tokens: list[int]


async def check(cluster: Cluster, region: Region, stored: Stored, verdict: Verdict) -> None:
    """Wait until the sinks have come to the end of every chain, and compare."""
    wanted = {workspace: head.seq for workspace, head in stored.heads.items()}
    began = time.monotonic()
    async with superuser(cluster, region) as connection:
        while (reached := {str(row[0]): row[1] for row in await connection.fetch(_REACHED, list(wanted))}) != wanted:
            if time.monotonic() - began > DRAIN_SECONDS:
                verdict.blame(f"{region}: not indexed {DRAIN_SECONDS:.0f} s after all was announced: {_late(wanted, reached)}")
                break
            await asyncio.sleep(0.2)
        rows = await connection.fetch(_ROWS, list(wanted))
        dead = await connection.fetchval(_DEAD)
    if dead:
        verdict.blame(f"{region}: {dead} dead letters of the search sink")
    check_rows([Row(str(row[0]), row[1], str(row[2]), row[3], row[4], str(row[5]), row[6]) for row in rows], stored.events, verdict)


def check_rows(rows: Sequence[Row], events: Sequence[StoredEvent], verdict: Verdict) -> None:
    """Both by workspace and seq."""
    found = {(row.workspace_id, row.seq): row for row in rows}
    verdict.counts["events indexed"] += len(rows)
    if len(found) < len(rows):
        verdict.blame(f"{len(rows) - len(found)} events are indexed twice")
    for event in events:
        row = found.pop((event.workspace_id, event.seq), None)
        if row is None:
            verdict.blame(f"not indexed: workspace {event.workspace_id}, seq {event.seq}")
        elif row != _expected(event):
            verdict.blame(f"indexed as another event: workspace {event.workspace_id}, seq {event.seq}")
    for workspace, seq in found:
        verdict.blame(f"indexed and not stored: workspace {workspace}, seq {seq}")


def _expected(event: StoredEvent) -> Row:
    times = (event.timestamp, event.received_at)
    return Row(event.workspace_id, event.seq, event.company_id, *times, event.id, event_tokens(event))


def _late(wanted: Mapping[str, int], reached: Mapping[str, int]) -> str:
    return ", ".join(
        f"{workspace}: {reached.get(workspace, 0)} of {seq}" for workspace, seq in wanted.items() if reached.get(workspace) != seq
    )
