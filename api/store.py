"""What the query API reads. Every read is the caller's own: scoped by company, and by workspace for a workspace key.

Twice: by each statement's WHERE, and by row-level security, which is told the caller for one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from struct import Struct
from time import perf_counter
from types import MappingProxyType
from uuid import UUID
from weakref import WeakValueDictionary

from api.cursor import Position
from ops import log
from ops.auth import Principal
from ops.db import Connection, Pool, Row, is_unavailable, load_queries, sqlstate, tenant_transaction
from ops.metrics import Metrics
from ops.rows import to_stored
from schemas.chain import START, Head
from schemas.event import StoredEvent
from schemas.problems import Unavailable
from schemas.topics import Region

_ACQUIRE_SECONDS = 5.0
_CANCELLED = "57014"
"""SQLSTATE of a statement that ran into its time limit."""
_TOO_SLOW = "This takes the database too long: ask for less."
_SHARE = 4
_NO_ID = UUID(int=0)
_PLACE = Struct(">iqi")
_LATEST = Position(252_455_615_999_999_999, _PLACE.pack(2**31 - 1, 2**63 - 1, 2**31 - 1))  # the end of the year 9969
_LOG = log.get(__name__)
_WAIT_FOR_OWN = "Too many of this company's queries are under way: try again"


@dataclass(frozen=True, slots=True)
class Rejection:
    """An accepted event that could not be stored. Times are microseconds; operators also see company and original bytes."""

    id: str | None
    workspace_id: str | None
    reason: str
    detail: str
    received_at: int | None
    rejected_at: int
    company_id: str | None = None
    original: bytes | None = None


class Busy(Unavailable):
    """The database answers, but not this, or not now."""


class Store:
    """The regions' databases, in the API's role. Every method raises ``Unavailable`` while the database can't answer."""

    def __init__(self, pools: Mapping[Region, Pool], metrics: Metrics, share: int = _SHARE) -> None:
        """``share``: how many of a region's connections one company's reads may hold at a time, so that others always get one."""
        self._pools = pools
        self._share = share
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._metrics = metrics
        self._sql = load_queries("api")

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions whose databases these are."""
        return tuple(self._pools)

    async def ping(self, region: Region) -> None:
        """Ask the region's database anything at all."""
        async with self._reading(region, "ping") as connection:
            await connection.execute("SELECT 1")

    async def event(self, caller: Principal, event_id: str) -> StoredEvent | str | None:
        """The stored event, its own or the one that it repeats; or the reason of its rejection; or ``None``."""
        scope = (event_id, caller.company_id, caller.workspace_id)
        async with self.reading_for(caller, "event") as connection:
            row = await connection.fetchrow(self._sql["event_by_id"], *scope)
            if row is None:
                row = await connection.fetchrow(self._sql["event_by_alias"], *scope)
            if row is not None:
                return to_stored(row, caller.region)
            reason: str | None = await connection.fetchval(self._sql["rejection_by_id"], *scope)
            return reason

    async def chain(self, caller: Principal, workspace_id: str) -> tuple[Head, int | None] | None:
        """The head of the workspace's chain and when it moved (microseconds); ``None`` when it is not the caller's."""
        async with self.reading_for(caller, "chain") as connection:
            row = await connection.fetchrow(self._sql["chain_of_workspace"], workspace_id, caller.company_id, caller.workspace_id)
        if row is None:
            return None
        return (START, None) if row["seq"] is None else (Head(row["seq"], row["hash"]), row["updated_at"])

    async def workspaces(self, caller: Principal, after: Position | None, limit: int) -> list[tuple[Row, Position]]:
        """Up to ``limit`` workspaces behind ``after`` (id, name, kind, archived_at, created_at, seq), each with its position."""
        scope = (caller.company_id, caller.workspace_id)
        async with self.reading_for(caller, "workspaces") as connection:
            rows = await connection.fetch(self._sql["workspaces_of_company"], *scope, _id(after), limit)
        return [_by_id(row) for row in rows]

    async def projects(self, caller: Principal, workspace_id: str, after: Position | None, limit: int) -> list[tuple[Row, Position]] | None:
        """The same of the workspace's projects: id, workspace_id, name, created_at. ``None`` when it is not the caller's."""
        scope = (caller.company_id, caller.workspace_id, workspace_id)
        async with self.reading_for(caller, "projects") as connection:
            rows = await connection.fetch(self._sql["projects_of_workspace"], *scope, _id(after), limit)
        return [_by_id(row) for row in rows if row["id"] is not None] if rows else None

    async def usage(self, caller: Principal) -> Row:
        """The company's plan, its limits (JSON), and what there is in the caller's scope: events, workspaces, projects, keys."""
        async with self.reading_for(caller, "usage") as connection:
            row = await connection.fetchrow(self._sql["usage_of_company"], caller.company_id, caller.workspace_id)
        if row is None:
            raise LookupError(f"company {caller.company_id} has a key and no row")
        return row

    async def company_limits(self, region: Region, company_id: str) -> str | None:
        """What a company's plan allows (JSON), its overrides over it; ``None`` when the region has no such company."""
        async with self._reading(region, "company_limits") as connection, tenant_transaction(connection, company_id, readonly=True):
            found: str | None = await connection.fetchval(self._sql["company_limits"], company_id)
        return found

    async def company(self, caller: Principal) -> Row:
        """The caller's company: id, name, plan, limits and overrides (JSON), created_at, and what there is of it, as ``usage`` says."""
        async with self.reading_for(caller, "company") as connection:
            row = await connection.fetchrow(self._sql["company"], caller.company_id)
        if row is None:
            raise LookupError(f"company {caller.company_id} is gone")
        return row

    async def projects_of_company(
        self, caller: Principal, workspace_id: str | None, after: Position | None, limit: int
    ) -> list[tuple[Row, Position]]:
        """Up to ``limit`` projects of the company, or of one workspace: id, workspace_id, name, created_at, each with its position."""
        async with self.reading_for(caller, "projects_of_company") as connection:
            rows = await connection.fetch(self._sql["projects_of_company"], caller.company_id, workspace_id, _id(after), limit)
        return [_by_id(row) for row in rows]

    async def rejections(
        self, caller: Principal, workspace_id: str | None, after: Position | None, limit: int
    ) -> list[tuple[Rejection, Position]]:
        """Up to ``limit`` rejections behind ``after``, newest first, each with its position."""
        edge = _edge(after)
        async with self.reading_for(caller, "rejections") as connection:
            rows = await connection.fetch(self._sql["rejections_of_company"], caller.company_id, workspace_id, *edge, limit)
        return [_rejection(row) for row in rows]

    async def all_rejections(self, region: Region, after: Position | None, limit: int) -> list[tuple[Rejection, Position]]:
        """The same for the operator: of every company, with the original bytes."""
        async with self._reading(region, "all_rejections") as connection:
            rows = await connection.fetch(self._sql["rejections_of_region"], *_edge(after), limit)
        return [_rejection(row) for row in rows]

    @asynccontextmanager
    async def acting(
        self, region: Region, company_id: str | None, action: str, parameters: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[Connection]:
        """A transaction in a company's name, or in nobody's, committed when the block ends without an exception. In a company's it is
        under PostgreSQL's ``parameters``.

        Raises ``Unavailable`` while the database is away; lost at its very end, it may have been committed all the same.
        """
        async with (
            self._reading(region, action) as connection,
            connection.transaction() if company_id is None else tenant_transaction(connection, company_id, parameters=parameters),
        ):
            yield connection

    @asynccontextmanager
    async def operating(self, region: Region, role: str, action: str) -> AsyncIterator[Connection]:
        """A transaction in another role of the database, which works across tenants; otherwise as ``acting``."""
        async with self._reading(region, action) as connection, connection.transaction():
            await connection.execute(f'SET LOCAL ROLE "{role}"')
            yield connection

    @asynccontextmanager
    async def acting_in_turn(self, caller: Principal, action: str) -> AsyncIterator[Connection]:
        """A transaction in the caller's company's name, as ``acting`` begins it, within the share of connections that its reads have."""
        async with (
            in_turn(self._share_of(caller.company_id), _WAIT_FOR_OWN),
            self.acting(caller.region, caller.company_id, action) as connection,
        ):
            yield connection

    @asynccontextmanager
    async def reading_for(
        self,
        caller: Principal,
        query: str,
        parameters: Mapping[str, str] = MappingProxyType({}),
        gate: asyncio.Semaphore | None = None,
    ) -> AsyncIterator[Connection]:
        """A read-only transaction, under PostgreSQL's ``parameters``, that sees what the caller may. Raises ``Unavailable``.

        ``gate`` is waited at once it is the company's turn: so no company that waits for itself keeps others from it.
        """
        async with (
            in_turn(self._share_of(caller.company_id), _WAIT_FOR_OWN),
            in_turn(gate, "Too much is read at a time: try again") if gate else nullcontext(),
            self._reading(caller.region, query) as connection,
            tenant_transaction(connection, caller.company_id, caller.workspace_id, readonly=True, parameters=parameters),
        ):
            yield connection

    def _share_of(self, company_id: str) -> asyncio.Semaphore:
        share = self._shares.get(company_id)
        if share is None:
            share = self._shares[company_id] = asyncio.Semaphore(self._share)
        return share

    @asynccontextmanager
    async def _reading(self, region: Region, query: str) -> AsyncIterator[Connection]:
        started = perf_counter()
        try:
            async with self._pools[region].acquire(timeout=_ACQUIRE_SECONDS) as connection:
                yield connection
        except Exception as error:
            if not is_unavailable(error):
                raise
            _LOG.warning("query failed", query=query, region=region, error=type(error).__name__)
            raise (Busy(_TOO_SLOW) if sqlstate(error) == _CANCELLED else Unavailable()) from error
        finally:
            self._metrics.query_seconds.labels(query, region).observe(perf_counter() - started)


@asynccontextmanager
async def in_turn(turns: asyncio.Semaphore, sentence: str) -> AsyncIterator[None]:
    """Wait while all turns are taken, for seconds at most. Raises ``Busy`` with that sentence."""
    try:
        await asyncio.wait_for(turns.acquire(), _ACQUIRE_SECONDS)
    except TimeoutError:
        raise Busy(sentence) from None
    try:
        yield
    finally:
        turns.release()


def _by_id(row: Row) -> tuple[Row, Position]:
    return row, Position(0, row["id"].bytes)


def _id(after: Position | None) -> UUID:
    return UUID(bytes=after.tie) if after else _NO_ID


def _edge(after: Position | None) -> tuple[int, int, int, int]:
    edge = after or _LATEST
    return (edge.time, *_PLACE.unpack(edge.tie))


def _rejection(row: Row) -> tuple[Rejection, Position]:
    place = _PLACE.pack(row["source_partition"], row["source_offset"], row["source_index"])
    of_operator = (_text(row["company_id"]), row["original"]) if "original" in row else (None, None)
    columns = (row["reason"], row["detail"], row["received_at"], row["rejected_at"])
    return Rejection(_text(row["id"]), _text(row["workspace_id"]), *columns, *of_operator), Position(row["rejected_at"], place)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
