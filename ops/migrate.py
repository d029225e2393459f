"""``hyrelog migrate``: bring the databases of the regions to the newest schema.

Safe to run by several at once and while the services work: one advisory lock, a limit on how long a step
may wait for a table, a transaction for each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from alembic import command, op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.migration import MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from ops import audit
from ops.clock import SystemClock
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import DatabaseSettings
from schemas.audit import Entry
from schemas.topics import Region

Tell = Callable[..., None]

_SCRIPTS = Path(__file__).parent / "migrations"
_LOCK_KEY = 0x68797265  # "hyre"
_LOCK_POLL_SECONDS = 0.1
# A step that waits longer for a table holds up every query behind it: give up instead, and be run again.
_STEP_LOCK_TIMEOUT = "5s"


class MigrationError(Exception):
    """The database can't be migrated as asked."""


def register(app: typer.Typer) -> None:
    """Add the command ``migrate``."""
    app.command("migrate")(migrate_all)


def migrate_all(
    region: Annotated[Region | None, typer.Option(help="Only this region's database.", case_sensitive=False)] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 when a database is behind.")] = False,
) -> None:
    """Bring the databases of the regions to the newest schema."""
    settings = settings_of(DatabaseSettings, ambient_environ(Role.OWNER))
    behind = False
    for each in (region,) if region else settings.regions:
        url = settings.database_url(each)
        if check:
            current = is_current(url, each)
            behind |= not current
            typer.echo(f"{each}: {'up to date' if current else 'behind'}")
        else:
            typer.echo(f"{each}: at {migrate(url, each)}")
    raise typer.Exit(code=int(behind))


def run_sql(migration: str) -> None:
    """Execute the .sql file beside a migration's Python file, given as its ``__file__``."""
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise MigrationError("the connection was closed under the migration")
    driver.execute(Path(migration).with_suffix(".sql").read_text())


def migrate(url: str, region: Region, *, is_demo: bool = False) -> str:
    """Run what is missing and say in the database which region it is. Returns the revision it is then at.

    Raises :class:`MigrationError` when the database is another region's.
    """
    with _connected(url) as connection, _alone(connection):
        _refuse_other_region(connection, region)
        connection.execute(text(f"SET lock_timeout = '{_STEP_LOCK_TIMEOUT}'"))
        connection.commit()
        command.upgrade(_config(connection, _telling(connection, region)), "head")
        _sign(connection, region, is_demo=is_demo)
        return _revision(connection) or ""


def remake(url: str, region: Region) -> None:
    """Drop all that the database holds and migrate from nothing as a demo's, in one transaction. For its owner; asks nothing."""
    with _connected(url) as connection, _alone(connection):
        for statement in (f"SET LOCAL lock_timeout = '{_STEP_LOCK_TIMEOUT}'", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
            connection.execute(text(statement))
        command.upgrade(_config(connection), "head")
        _write(connection, region, audit.by_operator("region.reset", {"type": "region", "id": region.value}, {"isDemo": True}))
        _sign(connection, region, is_demo=True)


def is_current(url: str, region: Region) -> bool:
    """Whether nothing is missing. Raises :class:`MigrationError` when the database is another region's."""
    with _connected(url) as connection:
        _refuse_other_region(connection, region)
        return _revision(connection) == ScriptDirectory.from_config(_config(connection)).get_current_head()


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the advisory lock of migrations until the connection is closed.

    Asked for again and again rather than waited for: a waiting statement holds a snapshot, and a
    CREATE INDEX CONCURRENTLY of the one who has the lock would wait for that in turn.
    """
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK_KEY}):
        connection.rollback()
        time.sleep(_LOCK_POLL_SECONDS)
    connection.commit()
    yield


def _telling(connection: Connection, region: Region) -> Tell:
    """What tells the operators' audit of each step of a database that is in use, in the step's own transaction.

    A database that is made from nothing has nothing yet that was changed.
    """
    began_at = _revision(connection)
    connection.rollback()

    def tell(*, step: MigrationInfo, **_others: object) -> None:
        if began_at is not None and connection.scalar(text("SELECT to_regprocedure('operator_audit_workspace()') IS NOT NULL")):
            detail = {"region": region.value, "from": ", ".join(step.down_revision_ids), "to": step.up_revision_id}
            _write(connection, region, audit.by_operator("schema.migrate", {"type": "database", "id": region.value}, detail))

    return tell


def _write(connection: Connection, region: Region, entry: Entry) -> None:
    driver = connection.connection.driver_connection
    if driver is None:
        raise MigrationError("the connection was closed under the migration")
    audit.write_sync(driver, entry, region=region, company_id=None, now=SystemClock().micros())


def _tell_nobody(**_told: object) -> None:
    """For what is told as a whole."""


def _config(connection: Connection, tell: Tell = _tell_nobody) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["tell"] = tell
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _region_of(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('database_region')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT region FROM database_region"))
    return found


def _refuse_other_region(connection: Connection, region: Region) -> None:
    found = _region_of(connection)
    connection.rollback()
    if found not in (None, region):
        raise MigrationError(f"the database given for {region} is that of {found}")


def _sign(connection: Connection, region: Region, *, is_demo: bool) -> None:
    statement = "INSERT INTO database_region (region, is_demo) VALUES (:region, :is_demo) ON CONFLICT DO NOTHING"
    connection.execute(text(statement), {"region": region.value, "is_demo": is_demo})
    connection.commit()
