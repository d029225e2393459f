"""How events become deliveries that are due: the sink's side of webhooks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ops.db import Connection, Pool, load_queries
from schemas.event import StoredEvent
from schemas.ids import is_uuid
from schemas.topics import Region
from schemas.webhooks import NOTICES, Kind, delivery_id
from sinks.store import AfterCommit, SinkStore
from sinks.webhooks.ledger import to_endpoint
from sinks.webhooks.model import Delivery, Endpoint


class Intake(Protocol):
    """What a dispatcher takes from the sink without a detour over the table."""

    lease: float
    """Seconds for which what it takes is claimed."""

    def now(self) -> float:
        """Monotonic."""

    def room(self, webhook_id: str) -> int:
        """How many more deliveries it takes of an endpoint."""

    def take(self, endpoints: Iterable[Endpoint], deliveries: Sequence[Delivery], *, left: Iterable[str]) -> None:
        """Deliveries that are claimed and committed; ``left`` names the endpoints that more is due to."""


class _Due(NamedTuple):
    endpoint: Endpoint
    event: StoredEvent
    id: str
    claimed: bool

    @property
    def row(self) -> tuple[object, ...]:
        event = self.event
        return self.endpoint.id, self.id, event.company_id, event.workspace_id, event.seq, event.id, Kind.EVENT.value, self.claimed


class WebhookStore(SinkStore[StoredEvent]):
    """The deliveries of a region."""

    def __init__(self, region: Region, pool: Pool, intake: Intake | None = None) -> None:
        """Without an ``intake`` all that is due waits for whoever claims it."""
        super().__init__(region, pool, load_queries("sinks.webhooks"))
        self._intake = intake

    async def nobodys(self, keys: Collection[bytes]) -> Collection[bytes]:
        """Those of workspaces that never had an endpoint: most, and reading an event is most of what it costs.

        An endpoint that is made after this begins behind all that these records can hold.
        """
        named = {key.decode(): key for key in keys if is_uuid(key.decode(errors="replace"))}
        async with self.transaction() as connection:
            await connection.execute(self._sql["hold_endpoints"])
            rows = await connection.fetch(self._sql["with_endpoints"], list(named))
        return set(named.values()) - {named[str(row[0])] for row in rows}

    async def heads(self, connection: Connection, workspaces: Iterable[str]) -> dict[str, int]:
        """The last event that the sink is done with, of each workspace. Holds back who makes or enables an endpoint."""
        await connection.execute(self._sql["hold_endpoints"])
        return await super().heads(connection, workspaces)

    async def insert(self, connection: Connection, rows: Sequence[StoredEvent]) -> AfterCommit | None:
        """Make events due to whoever wants them."""
        last = {event.workspace_id: event.seq for event in rows}
        endpoints = await self._endpoints(connection, last)
        now = self._intake.now() if self._intake else 0.0
        found = self._due(rows, endpoints)
        new = await self._insert_due(connection, found) if found else set()
        await connection.execute(self._sql["move_heads"], list(last), list(last.values()))
        if new and self._intake is None:
            await connection.execute(self._sql["notify_dispatchers"], NOTICES)
        return self._hand_over([each for each in found if each.id in new], now) if new else None

    async def _endpoints(self, connection: Connection, workspaces: Iterable[str]) -> Mapping[str, list[Endpoint]]:
        found: defaultdict[str, list[Endpoint]] = defaultdict(list)
        for row in await connection.fetch(self._sql["endpoints_of"], list(workspaces)):
            endpoint = to_endpoint(row)
            found[endpoint.workspace_id].append(endpoint)
        return found

    def _due(self, events: Sequence[StoredEvent], endpoints: Mapping[str, list[Endpoint]]) -> list[_Due]:
        rooms: dict[str, int] = {}
        found: list[_Due] = []
        for event in events:
            for endpoint in endpoints.get(event.workspace_id, ()):
                if event.seq < endpoint.from_seq or not endpoint.wants(event):
                    continue
                room = rooms[endpoint.id] if endpoint.id in rooms else self._room(endpoint.id)
                rooms[endpoint.id] = room - 1
                found.append(_Due(endpoint, event, delivery_id(endpoint.id, event.id, event.received_at), room > 0))
        return found

    def _room(self, webhook_id: str) -> int:
        return self._intake.room(webhook_id) if self._intake else 0

    async def _insert_due(self, connection: Connection, due: Sequence[_Due]) -> set[str]:
        lease = self._intake.lease if self._intake else 0.0
        columns = map(list, zip(*(each.row for each in due), strict=True))
        rows = await connection.fetch(self._sql["insert_due"], *columns, lease)
        return {str(row[0]) for row in rows}

    def _hand_over(self, due: Sequence[_Due], now: float) -> AfterCommit | None:
        intake = self._intake
        if intake is None:
            return None
        endpoints = {each.endpoint.id: each.endpoint for each in due}
        claimed = [Delivery(each.endpoint.id, each.id, Kind.EVENT, 1, 0, each.event, now) for each in due if each.claimed]
        left = {each.endpoint.id for each in due if not each.claimed}
        return lambda: intake.take(endpoints.values(), claimed, left=left)
