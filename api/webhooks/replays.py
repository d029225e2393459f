"""Sending events again: what is asked for is judged and written down; the dispatcher puts it in line, page by page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from api.answers import time
from api.finder import PLANNING
from api.webhooks.actions import Act, Webhooks
from api.webhooks.rows import Replay, Webhook
from api.webhooks.wishes import ReplayWish
from ops.db import Connection, load_queries
from schemas import ids
from schemas.problems import Conflict, Detail, ValidationFailed, invalid

MAX_EVENTS = 1_000_000
_MAX_DETAILS = 20


@dataclass(frozen=True, slots=True)
class _Range:
    """Which events: by time (microseconds, the end exclusive), by seq (both inclusive), or these."""

    from_at: int | None = None
    to_at: int | None = None
    from_seq: int | None = None
    to_seq: int | None = None
    event_ids: tuple[str, ...] | None = None

    def told(self) -> dict[str, Any]:
        """As an entry of the audit tells it."""
        if self.event_ids is not None:
            return {"eventIds": len(self.event_ids)}
        if self.from_seq is not None:
            return {"fromSeq": self.from_seq, "toSeq": self.to_seq}
        return {"from": time(self.from_at), "to": time(self.to_at)}


class Replays:
    """Replays of a company's endpoints."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._sql = load_queries("api.webhooks")

    async def begin(self, act: Act, webhook_id: str, wish: ReplayWish) -> Replay:
        """A replay for an enabled endpoint that has none under way. Raises ``ValidationFailed``, ``Conflict``, ``NotFound``."""
        # Events are counted along the index of their times, whatever the planner knew when the table was small.
        async with self._webhooks.holding(act, webhook_id, "replay_webhook", PLANNING) as (connection, webhook):
            if not webhook.enabled:
                raise Conflict("The webhook is disabled: enable it first.")
            asked = await self._range(connection, act.caller.company_id, webhook, wish)
            now = self._webhooks.now()
            replay = Replay(ids.uuid7(now, os.urandom(ids.RANDOM_BYTES)), "RUNNING", 0, now, None)
            place = (replay.id, webhook.id, act.caller.company_id, webhook.workspace_id)
            columns = (asked.from_at, asked.to_at, asked.from_seq, asked.to_seq, asked.event_ids)
            if await connection.fetchval(self._sql["insert_replay"], *place, *columns, now) is None:
                raise Conflict("A replay of this webhook is under way: one at a time.")
            await self._webhooks.write(connection, act, webhook, {"replayId": replay.id, **asked.told()})
        return replay

    async def _range(self, connection: Connection, company_id: str, webhook: Webhook, wish: ReplayWish) -> _Range:
        of_workspace = (webhook.workspace_id, company_id)
        if "event_ids" in wish.model_fields_set:
            return await self._these(connection, of_workspace, wish.event_ids)
        if "from_seq" in wish.model_fields_set:
            return await self._by_seq(connection, of_workspace, wish.from_seq, wish.to_seq)
        return await self._by_time(connection, of_workspace, wish.start, wish.end)

    async def _these(self, connection: Connection, of_workspace: tuple[str, str], asked: list[str]) -> _Range:
        rows = await connection.fetch(self._sql["events_by_ids"], *of_workspace, asked)
        found = {str(row["asked"]): str(row["id"]) for row in rows}
        missing = [index for index, each in enumerate(asked) if each not in found]
        if missing:
            fields = (f"eventIds[{index}]" for index in missing[:_MAX_DETAILS])
            raise ValidationFailed(details=tuple(Detail("is not a stored event of this workspace", field) for field in fields))
        return _Range(event_ids=tuple(dict.fromkeys(found[each] for each in asked)))

    async def _by_seq(self, connection: Connection, of_workspace: tuple[str, str], first: int, last: int) -> _Range:
        if last < first:
            raise invalid("toSeq", "must not be below `fromSeq`")
        newest: int = await connection.fetchval(self._sql["seq_of_workspace"], *of_workspace)
        if first > newest:
            raise invalid("fromSeq", f"lies behind the newest event, whose seq is {newest}")
        last = min(last, newest)
        if last - first >= MAX_EVENTS:
            raise invalid("toSeq", _TOO_MANY)
        return _Range(from_seq=first, to_seq=last)

    async def _by_time(self, connection: Connection, of_workspace: tuple[str, str], start: int, end: int) -> _Range:
        if end <= start:
            raise invalid("to", "must lie after `from`")
        events: int = await connection.fetchval(self._sql["events_between"], *of_workspace, start, end, MAX_EVENTS + 1)
        if events > MAX_EVENTS:
            raise invalid("to", _TOO_MANY)
        return _Range(from_at=start, to_at=end)


_TOO_MANY = f"makes it more than {MAX_EVENTS:,} events: replay them in parts"
