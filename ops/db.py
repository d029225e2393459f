"""PostgreSQL: connection pools, named queries, and which errors mean that it is away.

Times cross this door as whole microseconds since 1970 UTC, in both directions: exact, and cheaper
than ``datetime`` (which the driver builds and everybody takes apart again).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.topics import Region

# In quotes: the classes are generic only in their stubs.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record

_SILENCE_SECONDS = 5.0
_POSTGRES_EPOCH_MICROS = 946_684_800_000_000  # 2000-01-01 UTC
_QUERY_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\n-- \S.*\n", re.MULTILINE)
# SQLSTATE classes: connection, login refused and no such database (as while one is restored), insufficient resources, operator
# intervention (timeouts too), system error.
_UNAVAILABLE_CLASSES = ("08", "28", "3D", "53", "57", "58")


class WrongRegion(RuntimeError):
    """The database is another region's: the settings are mixed up, and no service may touch it."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """PostgreSQL's own limits on a session, in seconds; ``None`` keeps the server's. They hold even if this process freezes."""

    statement: float | None = None
    lock: float | None = None
    idle_in_transaction: float | None = None
    tcp_user: float = 15.0
    connect: float = 5.0

    def server_settings(self) -> dict[str, str]:
        """As PostgreSQL's parameters, in milliseconds."""
        named = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
            "tcp_user_timeout": self.tcp_user,
        }
        return {name: str(round(seconds * 1000)) for name, seconds in named.items() if seconds is not None}


BY_INDEX = MappingProxyType({"enable_seqscan": "off"})
"""Parameters of a pool whose statements look rows up by key alone: a plan made while a table was empty must not read all of it later."""


async def open_pool(
    url: str,
    *,
    application_name: str,
    region: Region | None = None,
    min_size: int = 0,
    max_size: int = 8,
    timeouts: Timeouts = Timeouts(),
    parameters: Mapping[str, str] = MappingProxyType({}),
) -> Pool:
    """A pool of connections. With ``min_size`` 0 it opens even while the database is away.

    ``parameters`` are PostgreSQL's, of every session.

    Given a ``region``, each new connection checks that the database is that region's (``WrongRegion``). Connections are not
    reset when they are given back: nobody may change a session's state (``set_config`` with ``true`` alone, a test sees
    to it), a reset is a round trip each time, and over a dead link it hangs.
    """

    async def prepare(connection: Connection) -> None:
        await use_micros(connection)
        if region is not None:
            await check_region(connection, region)

    return await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        timeout=timeouts.connect,
        # PostgreSQL's own limits don't reach us over a connection that went silent.
        command_timeout=None if timeouts.statement is None else timeouts.statement + _SILENCE_SECONDS,
        init=prepare,
        reset=_leave_as_it_is,
        server_settings={
            "application_name": application_name,
            "jit": "off",  # short statements: compiling one costs more than running it
            "tcp_keepalives_idle": "5",
            "tcp_keepalives_interval": "3",
            "tcp_keepalives_count": "3",
            **timeouts.server_settings(),
            **parameters,
        },
    )


async def _leave_as_it_is(_connection: Connection) -> None:
    """What a pool does instead of resetting a session that has nothing to reset."""


async def use_micros(connection: Connection) -> None:
    """Make the connection read and write ``timestamptz`` as microseconds since 1970 UTC."""
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda micros: (micros - _POSTGRES_EPOCH_MICROS,),
        decoder=lambda parts: parts[0] + _POSTGRES_EPOCH_MICROS,
    )


async def check_region(connection: Connection, region: Region) -> None:
    """Raise ``WrongRegion`` unless the database says that it is ``region``'s."""
    found = await connection.fetchval("SELECT region FROM database_region")
    if found != region:
        raise WrongRegion(f"the database set for {region} is that of {found or 'no region'}")


@asynccontextmanager
async def tenant_transaction(
    connection: Connection,
    company_id: str,
    workspace_id: str | None = None,
    *,
    readonly: bool = False,
    parameters: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[None]:
    """A transaction in which row-level security shows that company's rows, and with a workspace only that one's.

    Who it works for, and PostgreSQL's ``parameters``, which are written as they stand, end with the transaction, however that
    ends; committed when the block ends without an exception.
    Raises ``ValueError`` for what is not a UUID.
    """
    company, workspace = UUID(company_id), "" if workspace_id is None else UUID(workspace_id)
    # One message, one round trip. It takes no arguments, so its values are made of UUIDs alone.
    settings = f"set_config('hyrelog.company', '{company}', true), set_config('hyrelog.workspace', '{workspace}', true)"
    local = "".join(f"; SET LOCAL {name} = {value}" for name, value in parameters.items())
    try:
        await connection.execute(f"BEGIN {'READ ONLY' if readonly else 'READ WRITE'}; SELECT {settings}{local}")
        yield
    except BaseException:
        await _abandon(connection)
        raise
    await connection.execute("COMMIT")


async def _abandon(connection: Connection) -> None:
    """End the transaction, and a connection that can't even do that."""
    if connection.is_closed():
        return
    try:
        # Waits for a cancelled query's end; so it can't be known before whether there is a transaction.
        await connection.execute("ROLLBACK", timeout=_SILENCE_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        connection.terminate()


def load_queries(package: str, filename: str = "queries.sql") -> Mapping[str, str]:
    """The named queries of a package's SQL file. Raises ``ValueError`` when one is unnamed, unexplained or named twice.

    A query is ``-- name: get_event``, one comment line that says what it is for, and the SQL with ``$1`` arguments.
    """
    text = files(package).joinpath(filename).read_text()
    _preface, *parts = _QUERY_NAME.split(text)
    names, bodies = parts[::2], [body.strip() for body in parts[1::2]]
    if len(set(names)) < len(names) or text.count("-- name:") != len(names) or not all(bodies):
        raise ValueError(f"{package}/{filename}: each query needs a name of its own, one line what it is for, and SQL")
    return MappingProxyType(dict(zip(names, bodies, strict=True)))


def sqlstate(error: BaseException) -> str | None:
    """The five characters of PostgreSQL's error code, or ``None`` when it did not come from there."""
    code: Any = getattr(error, "sqlstate", None)
    return code if isinstance(error, asyncpg.PostgresError) else None


def is_unavailable(error: BaseException) -> bool:
    """Whether the error says that the database can't answer now, not that the question was wrong."""
    if isinstance(error, OSError):  # connection errors and every kind of TimeoutError
        return True
    # A query sent between the server's farewell and the end of its connection finds the driver in a state for neither.
    if isinstance(error, asyncpg.InternalClientError):
        return True
    if isinstance(error, asyncpg.InterfaceError):  # a closed connection or pool; ValueErrors are wrong arguments
        return not isinstance(error, ValueError)
    return (sqlstate(error) or "").startswith(_UNAVAILABLE_CLASSES)
