"""Every ``hyrelog`` command is known for what it does, and each that changes something tells the audit of it, as of refusals."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from uuid import uuid4

import asyncpg
import psycopg
import pytest
from botocore.exceptions import ClientError
from psycopg import sql

from ops import migrate, seed
from ops.local.environment import Role, database_url
from ops.objects import client
from schemas.topics import Region
from tests.support.acts import A_NEW_ONE, CHANGES, PARTITION, REFUSALS, Act, nothing
from tests.support.commanding import World, commands, unique
from tests.support.managing import Database, Told, operator, told_since
from tests.support.objects import moto_settings
from tests.support.stack import LocalStack


class Does(Enum):
    """What a command does."""

    READ = auto()
    LOCAL = auto()
    """It is about the local stack's processes alone."""
    SERVE = auto()
    """It is a service, which tells of what it does by itself."""
    CHANGE = auto()


COMMANDS = {
    "company create": Does.CHANGE,
    "company list": Does.READ,
    "company override": Does.CHANGE,
    "company plan": Does.CHANGE,
    "company show": Does.READ,
    "dead-letters": Does.READ,
    "demo": Does.LOCAL,
    "down": Does.LOCAL,
    "export": Does.READ,  # by the API, which tells of it
    "fetch": Does.LOCAL,
    "jobs": Does.READ,
    "jobs run": Does.CHANGE,
    "jobs show": Does.READ,
    "key allow": Does.CHANGE,
    "key create": Does.CHANGE,
    "key list": Does.READ,
    "key revoke": Does.CHANGE,
    "key rotate": Does.CHANGE,
    "lifecycle": Does.CHANGE,
    "logs": Does.LOCAL,
    "migrate": Does.CHANGE,
    "partitions": Does.READ,
    "plan list": Does.READ,
    "plan show": Does.READ,
    "prepare": Does.CHANGE,
    "project create": Does.CHANGE,
    "project list": Does.READ,
    "rekey": Does.CHANGE,
    "relay": Does.SERVE,
    "restore approve": Does.CHANGE,
    "restore cancel": Does.CHANGE,
    "restore list": Does.READ,
    "restore reject": Does.CHANGE,
    "restore show": Does.READ,
    "scheduler": Does.SERVE,
    "seed": Does.CHANGE,
    "status": Does.LOCAL,
    "tail": Does.READ,  # by the API
    "unpark": Does.CHANGE,
    "up": Does.LOCAL,
    "verify": Does.READ,
    "workspace archive": Does.CHANGE,
    "workspace create": Does.CHANGE,
    "workspace list": Does.READ,
    "workspace unarchive": Does.CHANGE,
}
NEVER_REFUSED = {"company create", "company override", "company plan", "lifecycle", "migrate", "prepare", "rekey", "workspace create"}
"""They find it and do it, or it is not there."""
IN_ADMIN = ("company", "dead-letters", "jobs", "key", "plan", "project", "restore", "workspace")
APART = {"lifecycle", "migrate", "prepare"}
"""Their tests are below: they need other servers than the rest."""


@pytest.fixture
async def world(servers: LocalStack, superuser: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A company to do things to. The first company of a seed is one that no other test made."""
    monkeypatch.setattr(seed, "COMPANY", unique("First"))
    world = World(servers, superuser, servers.tenant())
    yield world
    await world.clear()
    await superuser.execute("UPDATE database_region SET is_demo = true")
    await superuser.execute("DELETE FROM source WHERE partition = $1", PARTITION)
    await superuser.execute("DELETE FROM company_data_key")


def test_each_command_is_known_for_what_it_does() -> None:
    """Who adds a command says here what it does, and shows below what it tells."""
    assert {name for name in commands() if not name.startswith("admin ")} == set(COMMANDS)


def test_each_that_changes_something_is_tried() -> None:
    changing = {name for name, does in COMMANDS.items() if does is Does.CHANGE}
    assert changing == set(CHANGES) | APART
    assert changing == set(REFUSALS) | NEVER_REFUSED | {"seed"}  # whose refusals test_seed_reset tries


def test_admin_is_the_same_commands_under_one_roof() -> None:
    every = commands()
    expected = {f"admin {name}": call for name, call in every.items() if name.partition(" ")[0] in IN_ADMIN}
    assert {name: call for name, call in every.items() if name.startswith("admin ")} == expected


@pytest.mark.parametrize("name", CHANGES)
async def test_nothing_is_done_without_its_entry_and_what_is_done_has_it(world: World, name: str) -> None:
    """In one transaction: an outbox that takes nothing keeps the command from all it does."""
    act = await CHANGES[name](world)
    before, position = await act.probe(), await _position(world.superuser)
    with no_entries(world.servers.superuser_url()):
        failed = await world.run(*act.words)
    assert failed.exit_code != 0, failed.output
    assert await act.probe() == before
    done = await world.run(*act.words)
    assert done.exit_code == 0, done.output
    assert await act.probe() != before
    await _check(world, act, position, "SUCCESS")


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_told_too(world: World, name: str) -> None:
    """With a reason, and in a transaction of its own: the other one is no more."""
    act, position = await REFUSALS[name](world), await _position(world.superuser)
    refused = await world.run(*act.words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    (entry,) = await _check(world, act, position, "DENIED")
    assert entry.metadata["reason"]


async def test_rules_of_a_bucket_are_set_with_an_entry(world: World) -> None:
    with moto_settings(world.servers.settings(Role.SCHEDULER)) as settings:
        world.as_role(Role.SCHEDULER, S3_ENDPOINT=settings.s3_endpoint or "")
        bucket = settings.bucket(Region.US)
        lifecycle = client(settings).get_bucket_lifecycle_configuration
        words, position = ("lifecycle", "--apply"), await _position(world.superuser)
        with no_entries(world.servers.superuser_url()):
            assert (await world.run(*words)).exit_code != 0
        with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
            lifecycle(Bucket=bucket)
        assert (await world.run(*words)).exit_code == 0
        assert lifecycle(Bucket=bucket)["Rules"]
    await _check(world, Act(words, ("lifecycle.apply",), nothing), position, "SUCCESS")


@pytest.mark.parametrize("command", ["migrate", "prepare"])
async def test_each_step_of_a_schema_in_use_is_told(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    """In the step's own transaction; a database that is made from nothing has nothing that was changed."""
    with empty_database(world.servers) as name:
        world.as_role(Role.OWNER, REGIONS="EU", DATABASE_URL_EU=database_url(world.servers.state, Role.OWNER, name))
        looked_at = database_url(world.servers.state, Role.SUPERUSER, name)
        with monkeypatch.context() as older:
            older.setattr(migrate, "_SCRIPTS", _older(tmp_path))
            assert (await world.run(command)).exit_code == 0
        database = await asyncpg.connect(looked_at)
        try:
            assert await told_since(database, 0) == []
            before = await database.fetchval("SELECT version_num FROM alembic_version")
            with no_entries(looked_at):
                assert (await world.run(command)).exit_code != 0
            assert await database.fetchval("SELECT version_num FROM alembic_version") == before
            assert (await world.run(command)).exit_code == 0
            ((whose, entry),) = await told_since(database, 0)
            after = await database.fetchval("SELECT version_num FROM alembic_version")
            assert (entry.action, entry.metadata) == ("schema.migrate", {"region": "EU", "from": before, "to": after})
            assert whose == await operator(database)
            assert (await world.run(command)).exit_code == 0
            assert len(await told_since(database, 0)) == 1
        finally:
            await database.close()


def _older(directory: Path) -> Path:
    """The migrations without the newest one."""
    shutil.copytree(Path(migrate.__file__).parent / "migrations", directory / "migrations")
    newest = max((directory / "migrations" / "versions").glob("*.sql"))
    newest.unlink()
    newest.with_suffix(".py").unlink()
    return directory / "migrations"


@contextmanager
def empty_database(servers: LocalStack) -> Iterator[str]:
    """The name of a database of the owner's."""
    name = f"scratch_{uuid4().hex}"
    with psycopg.connect(servers.superuser_url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(Role.OWNER)))
        yield name
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def no_entries(url: str) -> Iterator[None]:
    """The database's outbox takes none."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION take_none() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no entries today'; END $$;"
            "CREATE TRIGGER take_none BEFORE INSERT ON audit_outbox FOR EACH ROW EXECUTE FUNCTION take_none()"
        )
        try:
            yield
        finally:
            connection.execute("DROP TRIGGER take_none ON audit_outbox; DROP FUNCTION take_none()")


async def _position(database: Database) -> int:
    found: int = await database.fetchval("SELECT coalesce(max(position), 0) FROM audit_outbox")
    return found


async def _check(world: World, act: Act, position: int, outcome: str) -> Sequence[Told]:
    """The entries since then: these and no others, by the operator, and in the log where they belong."""
    found = await told_since(world.superuser, position)
    assert [(entry.action, entry.outcome) for _company, entry in found] == [(action, outcome) for action in act.actions]
    whose = {company for company, _entry in found}
    if act.company == A_NEW_ONE:
        assert {str(company) for company in whose} == {found[0][1].target["id"]}
    else:
        assert whose == {act.company or await operator(world.superuser)}
    entries = [entry for _company, entry in found]
    assert {(entry.actor["id"], entry.actor["type"], entry.context) for entry in entries} == {(getpass.getuser(), "operator", None)}
    return entries
