"""Every command of ops/docs/runbooks, run as it stands against a local stack that is hurt first, and what has to hold afterwards.

One stack for all: each page is walked from top to bottom, in the order of this file, and leaves the stack whole for the next one.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGQUIT
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from ops import kafka
from ops.local.environment import Role, database_name
from ops.local.postgres import binaries
from ops.local.process import wait_for
from ops.local.stack import Stack
from ops.local.state import State, write_private
from ops.seed import Tenant
from schemas.keys import key_prefix
from schemas.topics import Region, ingest_topic
from tests.support.commands import ROOT, Block, Shell, stack_environ, walk
from tests.support.stack import LocalStack

pytestmark = pytest.mark.skipif(
    os.environ.get("HYRELOG_TEST_BACKEND") == "testcontainers", reason="the runbooks start and stop the parts of the embedded stack"
)

PAGES = ROOT / "ops/docs/runbooks"
ROTATED = ("api_key_secret", "internal_token", "cursor_secret", "webhook_secret_encryption_key", "archive_key")


class World:
    """The stack, a terminal on it, the demo's company as a client of it, and a company in EU."""

    def __init__(self, stack: LocalStack, shell: Shell, backups: Path, environ: Mapping[str, str]) -> None:
        self.stack = stack
        self.shell = shell
        self.environ = environ
        self.eu = stack.tenant(Region.EU)
        self.client = httpx.Client(base_url=stack.base_url, timeout=40)
        shell.set(HYRELOG_BACKUPS=str(backups), HYRELOG_EU_KEY=self.key(self.eu))

    @staticmethod
    def key(tenant: Tenant) -> str:
        """That of its first workspace."""
        assert tenant.workspaces[0].key
        return tenant.workspaces[0].key

    def walk(self, page: str, prepare: Mapping[str, Callable[[], object]] | None = None) -> None:
        """Run a page's blocks, and before each what it needs."""
        for _ in walk(PAGES / f"{page}.md", self.shell, prepare or {}):
            pass

    def command(self, line: str) -> str:
        """Run a command that stands on no page; what it prints."""
        return self.shell.run(Block(Path("test_runbooks.py"), 0, line))

    def post(self, key: str | None = None, *, action: str = "runbook.test", wait: int = 30, named: str | None = None) -> dict[str, Any]:
        """Post an event, ``named`` by an idempotency key, and wait until it is stored; the answer's body."""
        headers = {"authorization": f"Bearer {key or self.environ['HYRELOG_WORKSPACE_KEY']}", "prefer": f"wait={wait}"}
        headers |= {"idempotency-key": named} if named else {}
        answer = self.client.post("/v1/events", json={"category": "system", "action": action, "actor": {"id": "u_1"}}, headers=headers)
        body: dict[str, Any] = answer.json()
        return body

    def ask(self, statement: str, *arguments: object, region: Region = Region.US) -> list[tuple[Any, ...]]:
        """What a statement gives to a superuser."""
        with psycopg.connect(self.stack.superuser_url(region), cursor_factory=psycopg.RawCursor, autocommit=True) as connection:
            done = connection.execute(statement.encode(), arguments)
            return done.fetchall() if done.description else []

    def hashes(self) -> dict[UUID, bytes]:
        """Of all that is stored in US, by the events' ids."""
        return dict(self.ask("SELECT id, hash FROM events"))

    def until(self, statement: str, *arguments: object) -> None:
        """Wait until a statement gives a row."""
        assert wait_for(lambda: bool(self.ask(statement, *arguments)), 30), statement

    def drop_database(self, region: Region) -> None:
        """Under whoever is connected."""
        server = self.stack.superuser_url(region).rpartition("/")[0]
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {database_name(region)} WITH (FORCE)".encode())

    def delete_topics(self, region: Region) -> None:
        """All of the region's."""
        asyncio.run(kafka.delete_topics(self.stack.settings(Role.OWNER), region))

    def restart(self, *parts: str) -> None:
        """End parts, and start them with the settings of now."""
        self.stack.state.reload()
        for part in parts:
            self.stack.parts.stop(part)
        self.stack.parts.up(parts)


@pytest.fixture(scope="module")
def world(stack: LocalStack) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as backups:
        environ = stack_environ(stack.state, binaries())
        try:
            with Shell(environ) as shell:
                world = World(stack, shell, Path(backups), environ)
                with world.client:
                    assert world.post()["seq"] == world.post(world.key(world.eu))["seq"] == 1
                    world.walk("README")
                    yield world
        finally:
            Stack(State(stack.state.root)).down()  # with what the pages started besides


def test_broker_lost(world: World) -> None:
    before = world.post()["seq"]
    world.walk(
        "broker-lost",
        {
            "the broker is gone": lambda: world.stack.parts.kill("kafka"),
            "the topics of EU are gone": lambda: world.delete_topics(Region.EU),
        },
    )
    assert world.post()["seq"] > before


def test_database_lost(world: World) -> None:
    def lose() -> None:
        world.stack.parts.kill("postgres", SIGQUIT)
        # Found late: what the page about poison events shows.
        assert [world.post(action=action, wait=0, named="twice")["status"] for action in ("a", "b")] == ["ACCEPTED", "ACCEPTED"]

    world.walk("database-lost", {"the database is gone": lose})
    assert world.post(action="a", named="twice")["action"] == "a"


def test_restore_from_backup(world: World) -> None:
    """All events are there again, with their hashes: those from before the backup, and those from after it. A key revoked since is, too."""
    doomed = world.stack.tenant()
    # In partitions where nothing comes afterwards, so that no later record tells a worker that its position went back.
    quiet = [workspace.key for workspace in world.stack.tenant(workspaces=4).workspaces]
    (key_id,) = world.ask("SELECT id FROM api_key WHERE prefix = $1", key_prefix(world.key(doomed)))[0]
    before: dict[UUID, bytes] = {}

    def destroy() -> None:
        world.command(f"hyrelog key revoke {key_id} --region us")
        world.until("SELECT 1 FROM events WHERE action = 'key.revoke' AND resource_id = $1", str(key_id))
        for key in (None, *quiet):
            world.post(key)
        before.update(world.hashes())
        world.drop_database(Region.US)

    world.post()
    world.walk("restore-from-backup", {"the database of US is destroyed": destroy})
    assert before.items() <= world.hashes().items()
    assert wait_for(lambda: world.post(world.key(doomed)).get("code") == "UNAUTHORIZED", 15)


def test_region_lost(world: World) -> None:
    def lose() -> None:
        world.command('pg_dump --format=custom --file="$HYRELOG_BACKUPS/eu.dump" "$HYRELOG_SUPERUSER_URL_EU"')
        world.drop_database(Region.EU)
        world.delete_topics(Region.EU)
        shutil.rmtree(world.stack.state.root / "s3" / "objects" / world.environ["HYRELOG_S3_BUCKET_EU"])

    before = world.post(world.key(world.eu))["seq"]
    world.walk("region-lost", {"the region EU is gone": lose})
    assert world.post(world.key(world.eu))["seq"] > before


def test_lag_grows(world: World) -> None:
    def stop_the_work() -> None:
        world.stack.parts.kill("worker-1")
        for _ in range(3):
            world.post(wait=0)

    world.walk("lag-grows", {"no worker runs and events wait": stop_the_work})


def test_poison_events(world: World) -> None:
    """Without ``test_database_lost`` there is no key that was used twice."""

    async def put(value: bytes) -> None:
        producer = kafka.producer(world.stack.settings(Role.INGEST), Region.US)
        await producer.start()
        await producer.send_and_wait(ingest_topic(Region.US), value, partition=0)
        await producer.stop()

    def bury() -> None:
        place = (world.environ["HYRELOG_WORKSPACE_ID"], world.post()["seq"])
        world.until("SELECT 1 FROM search WHERE workspace_id = $1 AND seq = $2", *place)
        world.ask("DELETE FROM search WHERE workspace_id = $1 AND seq = $2", *place)
        world.ask(
            "INSERT INTO search_dead (topic, partition, workspace_id, seq, reason) VALUES ('hyrelog.us.events', 0, $1, $2, $3)",
            *place,
            "a bug of yesterday",
        )

    world.walk(
        "poison-events",
        {
            "somebody wrote garbage to the ingest topic": lambda: asyncio.run(put(b"garbage")),
            "the search sink could not take an event": bury,
        },
    )


def test_key_leaked(world: World) -> None:
    """The last one: the stack's secrets are others afterwards."""

    def leak() -> None:
        terms = '"$HYRELOG_COMPANY_ID" leaked --workspace "$HYRELOG_WORKSPACE_ID" --region us'
        _, key = world.command(f"hyrelog key create {terms}").split()
        world.post(key)
        world.shell.set(LEAKED_KEY=key, LEAKED_PREFIX=key_prefix(key))

    def rotate() -> None:
        with _secrets(world.stack.state.root) as kept:
            for name in ROTATED:
                kept[f"{name}_previous"], kept[name] = kept[name], secrets.token_hex(32)
        world.restart("gateway", "webhooks", "archive", "scheduler")
        world.shell.set(NEW_INTERNAL_TOKEN=world.stack.internal_token)

    def end_the_rotation() -> None:
        with _secrets(world.stack.state.root) as kept:
            del kept["internal_token_previous"]
        world.restart("gateway")

    world.walk(
        "key-leaked",
        {
            "a workspace key leaked": leak,
            "every secret is a new one and the old ones are the previous": rotate,
            "the previous internal token is unset": end_the_rotation,
        },
    )


@contextmanager
def _secrets(root: Path) -> Iterator[dict[str, str]]:
    """A stack's secrets, to be changed."""
    file = root / "state.json"
    state = json.loads(file.read_text())
    yield state["secrets"]
    write_private(file, json.dumps(state))
