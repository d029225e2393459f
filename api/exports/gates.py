"""What stands between a wish and an export: the plan, how far archives go back, and whether they can be read (contract §3)."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from api.answers import time
from api.exports.rows import Job
from api.exports.wishes import ExportWish
from ops.auth import Principal
from ops.db import Connection
from schemas.event import FIRST_TIME
from schemas.plans import PlanLimits
from schemas.problems import Conflict, PlanLimitExceeded, PlanRestricted, RestoreRequired, RetentionWindowExceeded
from schemas.retention import History, Terms


class Gates:
    """Each is asked within the transaction that depends on it."""

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql

    async def admit(self, connection: Connection, caller: Principal, wish: ExportWish, now: int) -> int | None:
        """How many rows the export may have. Raises ``PlanRestricted``, ``PlanLimitExceeded`` and ``RetentionWindowExceeded``."""
        workspace = caller.workspace_id or wish.filters.workspace_id
        ((limits, has_audit),) = await connection.fetch(self._sql["terms_of_company"], caller.company_id, workspace)
        most = _most_rows(PlanLimits.parse(orjson.loads(limits)), wish)
        if wish.source != "HOT" and wish.start is not None:
            await self._check_window(connection, caller, wish.start, now, has_audit=has_audit)
        return most

    async def admit_again(self, connection: Connection, caller: Principal, job: Job) -> int | None:
        """How many rows a download of it may have: plans change, and the smaller limit holds. Raises ``PlanRestricted``."""
        ((limits, _has_audit),) = await connection.fetch(self._sql["terms_of_company"], caller.company_id, caller.workspace_id)
        of_plan = PlanLimits.parse(orjson.loads(limits))
        _check_source(of_plan, job.wish.source)
        return min((most for most in (job.most_rows, of_plan.export_rows) if most is not None), default=None)

    async def _check_window(self, connection: Connection, caller: Principal, start: int, now: int, *, has_audit: bool) -> None:
        """Raise where the export would have to begin before anything that can still be in an archive."""
        rows = await connection.fetch(self._sql["retention_of_company"], caller.company_id)
        terms = [(row["since"], Terms(row["hot_days"], row["archive_days"], row["cold_after_days"])) for row in rows]
        terms[0] = (FIRST_TIME, terms[0][1])  # a new company may ask for as much as an old one: there is just nothing there
        earliest = History(terms).archived_since(now)
        if earliest is not None and has_audit:
            of_audit = History([(since, each.of_audit()) for since, each in terms]).archived_since(now)
            earliest = earliest if of_audit is None else min(earliest, of_audit)
        if earliest is None:
            raise RetentionWindowExceeded("The company has no archive.")
        if start < earliest:
            raise RetentionWindowExceeded(f"No archive goes back that far: the earliest is of {time(earliest)}.")

    async def check_cold(self, connection: Connection, caller: Principal, job: Job, now: int) -> None:
        """Raise ``RestoreRequired`` where a part would have to be read that can't be."""
        rows = await connection.fetch(self._sql["cold_parts"], caller.company_id, job.id, now, *_times(job))
        if rows:
            raise RestoreRequired(tuple(str(row["id"]) for row in rows))

    async def check_there(self, connection: Connection, caller: Principal, job: Job) -> None:
        """Raise ``Conflict`` where events of the export are in neither place any more: it would not be whole."""
        if await connection.fetchval(self._sql["is_gone"], caller.company_id, job.id, *_times(job)):
            raise Conflict("Some of the export's events are past their retention and were removed: make a new export.")


def _check_source(limits: PlanLimits, source: str) -> None:
    if source not in limits.export_sources:
        raise PlanRestricted(f"The company's plan does not include exports of {source}.")


def _most_rows(limits: PlanLimits, wish: ExportWish) -> int | None:
    _check_source(limits, wish.source)
    if wish.limit is None:
        return limits.export_rows
    if limits.export_rows is not None and wish.limit > limits.export_rows:
        raise PlanLimitExceeded(f"The company's plan allows exports of {limits.export_rows} rows.")
    return wish.limit


def _times(job: Job) -> tuple[int, int, int | None, int | None]:
    asked = job.wish.filter()
    return asked.start, asked.end, asked.received_start, asked.received_end
