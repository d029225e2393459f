"""What both routes stand on: who calls, what judges and takes events, and what the events of a request share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingest.accept import Acceptor
from ingest.keys import Keys
from ingest.rules import Rules
from ingest.wait import Waiters
from ops import web
from ops.auth import Principal
from ops.clock import Clock
from ops.entrance import Entrance
from ops.limits import Visit
from ops.metrics import Metrics
from schemas.context import request_context
from schemas.envelope import Receipt
from schemas.keys import Scope as KeyScope
from schemas.problems import Forbidden, WorkspaceArchived
from schemas.topics import Region

Answer = tuple[int, bytes, Iterable[tuple[bytes, bytes]]]
"""Status, body, and headers beside those that every answer has."""
Headers = Mapping[bytes, bytes]
_TRACEPARENT_BYTES = 55


@dataclass(frozen=True, slots=True)
class Intake:
    """The parts of a process that a request passes, in its order. Times are in seconds."""

    entrance: Entrance
    rules: Rules
    keys: Keys
    acceptor: Acceptor
    waiters: Mapping[Region, Waiters]
    clock: Clock
    metrics: Metrics
    body_timeout: float
    max_waiting_bytes: int

    async def caller(self, headers: Headers, visit: Visit) -> Principal:
        """Who calls. Raises what the door raises, ``Forbidden`` for another key than a workspace's, ``WorkspaceArchived``."""
        header = headers.get(b"authorization")
        door = self.entrance.door
        caller = door.known(header, visit) or await door.ask(header, visit)
        if caller.scope is not KeyScope.WORKSPACE:
            raise Forbidden("A company key can't write events: use a workspace key")
        self.entrance.limits.watch_events(visit, caller)
        if caller.archived:
            raise WorkspaceArchived
        return caller


def receipt_of(visit: Visit, headers: Headers, caller: Principal, now: int, trace: str) -> Receipt:
    """What the events of a request share; ``now`` is its time of receipt in microseconds."""
    context = request_context(visit.address, headers.get(b"user-agent"))
    return Receipt(caller.company_id, caller.workspace_id or "", caller.region, now, trace, context)


def traceparent(headers: Headers, trace: str) -> bytes:
    """The caller's ``traceparent`` when it is the one the trace id came from, else one that begins here."""
    sent = headers.get(b"traceparent", b"")
    if len(sent) == _TRACEPARENT_BYTES and sent[3:35] == trace.encode() and web.trace_id([(b"traceparent", sent)]) == trace:
        return sent
    return b"00-%b-%b-01" % (trace.encode(), trace[:16].encode())
