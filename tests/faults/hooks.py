"""Webhooks under faults: endpoints whose receiver fails in every way there is, and what must have come to them in the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from schemas.webhooks import State, delivery_id
from tests.faults.standing import DRAIN_SECONDS, superuser
from tests.support.endpoints import Endpoint
from tests.support.receiver import Received, cut, hang

if TYPE_CHECKING:
    from schemas.event import StoredEvent
    from schemas.topics import Region
    from tests.faults.checker import Stored, Verdict
    from tests.faults.cluster import Cluster

_NO_ANSWER = 0
_SLOW_SECONDS = 0.5
_MOODS = ((204, 90), (503, 5), (429, 1), ("slow", 1), ("cut", 2), ("hang", 1))
"""How an endpoint answers, and how often of a hundred."""
_UNFINISHED = """
SELECT (SELECT count(*) FROM webhook_due WHERE webhook_id = ANY($1::uuid[]))
     + (SELECT coalesce(sum(c.seq - h.seq), 0) FROM webhook_head h JOIN chain_head c USING (workspace_id)
        WHERE h.workspace_id = ANY($2::uuid[]))
"""
_FIRSTS = "SELECT id, from_seq FROM webhook WHERE id = ANY($1::uuid[])"
_ATTEMPTS = """
SELECT webhook_id, delivery_id, attempt, state, error FROM webhook_attempt WHERE webhook_id = ANY($1::uuid[])
ORDER BY webhook_id, delivery_id, attempt
"""
_DEAD = "SELECT count(*) FROM webhook_dead"


@dataclass(slots=True)
class Arrival:
    """A request that came whole. ``status`` is what it was answered; 0, nothing."""

    delivery_id: str
    attempt: int
    event_id: str
    seq: int
    is_genuine: bool
    status: int = _NO_ANSWER


class Attempt(NamedTuple):
    """An attempt as it was recorded."""

    number: int
    state: str
    error: str | None


@dataclass(slots=True)
class Hook:
    """An endpoint and all that came to it. It is moody until it is healed."""

    endpoint: Endpoint
    rng: random.Random
    arrivals: list[Arrival] = field(default_factory=list)
    is_well: bool = False

    async def answer(self, received: Received) -> web.StreamResponse:
        """Note what came and answer it, or don't."""
        data = received.data
        arrival = Arrival(received.id, received.attempt, data["id"], data["seq"], self._is_genuine(received))
        self.arrivals.append(arrival)
        mood = 204 if self.is_well else self.rng.choices([name for name, _ in _MOODS], [share for _, share in _MOODS])[0]
        if mood == "cut":
            return await cut(received)
        if mood == "hang":
            return await hang(received)
        if mood == "slow":
            await asyncio.sleep(_SLOW_SECONDS)
        arrival.status = mood if isinstance(mood, int) else 204
        return web.Response(status=arrival.status, headers={"Retry-After": "1"} if mood == 429 else None)

    def _is_genuine(self, received: Received) -> bool:
        try:
            Webhook(self.endpoint.secret).verify(received.body, {name.lower(): value for name, value in received.headers.items()})
        except WebhookVerificationError:
            return False
        return True


async def check(cluster: Cluster, region: Region, hooks: Sequence[Hook], stored: Stored, verdict: Verdict) -> None:
    """Wait until nothing is to be sent to these endpoints of the region any more, and compare."""
    ids = [UUID(hook.endpoint.id) for hook in hooks]
    began = time.monotonic()
    async with superuser(cluster, region) as connection:
        while left := await connection.fetchval(_UNFINISHED, ids, [UUID(hook.endpoint.workspace_id) for hook in hooks]):
            if time.monotonic() - began > DRAIN_SECONDS:
                verdict.blame(f"{region}: {left} deliveries are not made {DRAIN_SECONDS:.0f} s after all was announced")
                break
            await asyncio.sleep(0.2)
        firsts = {str(row["id"]): row["from_seq"] for row in await connection.fetch(_FIRSTS, ids)}
        rows = await connection.fetch(_ATTEMPTS, ids)
        dead = await connection.fetchval(_DEAD)
    if dead:
        verdict.blame(f"{region}: {dead} dead letters of the webhook sink")
    attempts: dict[str, dict[str, list[Attempt]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        attempts[str(row["webhook_id"])][str(row["delivery_id"])].append(Attempt(row["attempt"], row["state"], row["error"]))
    for hook in hooks:
        own, first = hook.endpoint, firsts[hook.endpoint.id]
        told = [event for event in stored.events if event.workspace_id == own.workspace_id and event.seq >= first]
        check_hook(own.id, told, hook.arrivals, attempts[own.id], verdict)


def check_hook(
    webhook_id: str,
    events: Sequence[StoredEvent],
    arrivals: Sequence[Arrival],
    attempts: Mapping[str, Sequence[Attempt]],
    verdict: Verdict,
) -> None:
    """Every event arrived and was answered well, under its own id and no other; every arrival is recorded.

    ``attempts`` are those recorded of each delivery, by their numbers.
    """
    wanted = {delivery_id(webhook_id, event.id, event.received_at): event for event in events}
    recorded = {(delivery, each.number) for delivery, found in attempts.items() for each in found}
    well = Counter[str]()
    for arrival in arrivals:
        _check_arrival(arrival, wanted.get(arrival.delivery_id), verdict)
        if (arrival.delivery_id, arrival.attempt) not in recorded:
            verdict.blame(f"attempt {arrival.attempt} of delivery {arrival.delivery_id} arrived and is not recorded")
        well[arrival.delivery_id] += 200 <= arrival.status < 300
    for delivery, event in wanted.items():
        if not well[delivery]:
            verdict.blame(f"not delivered: workspace {event.workspace_id}, seq {event.seq}")
        _check_attempts(delivery, attempts.get(delivery, ()), verdict)
    for delivery in attempts.keys() - wanted.keys():
        verdict.blame(f"an attempt is recorded of delivery {delivery}, which is of no event")
    verdict.counts["webhook deliveries"] += len(wanted)
    verdict.counts["webhook requests received"] += len(arrivals)
    verdict.counts["webhook requests answered well again"] += sum(well.values()) - sum(map(bool, well.values()))
    verdict.counts["webhook attempts interrupted"] += sum(each.error == "INTERRUPTED" for found in attempts.values() for each in found)


def _check_arrival(arrival: Arrival, event: StoredEvent | None, verdict: Verdict) -> None:
    name = f"delivery {arrival.delivery_id}"
    if not arrival.is_genuine:
        verdict.blame(f"{name} is not signed as it should be")
    if event is None:
        verdict.blame(f"{name} is of no event that its endpoint is told of")
    elif (event.id, event.seq) != (arrival.event_id, arrival.seq):
        verdict.blame(f"{name} tells of event {arrival.event_id}, seq {arrival.seq}, instead of {event.id}, seq {event.seq}")


def _check_attempts(delivery: str, found: Sequence[Attempt], verdict: Verdict) -> None:
    """Numbered 1, 2, 3 …, each ending in another try but the last, which went well."""
    if [each.number for each in found] != list(range(1, len(found) + 1)):
        verdict.blame(f"delivery {delivery} has attempts {[each.number for each in found]}")
    states = [each.state for each in found]
    if states != [State.RETRYING] * (len(found) - 1) + [State.SUCCEEDED]:
        verdict.blame(f"delivery {delivery} went {', '.join(states) or 'nowhere'}")
