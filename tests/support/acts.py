"""What each changing ``hyrelog`` command does to a company or the service, what it is refused, and what the audit is to be told of both."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid4

from ops import seed
from ops.kafka import describe
from ops.local.environment import Role
from ops.sealing import Sealer
from schemas.restore import State
from schemas.topics import Region, ingest_topic
from tests.support.commanding import World, unique
from tests.support.managing import audit_workspace
from tests.support.neighbours import cold_archive
from tests.support.restoring import put_request

Probe = Callable[[], Awaitable[object]]

OTHER_KEY = "9d5c01f2a4b7e836" * 4
PARTITION = 6
A_NEW_ONE = UUID(int=0)


@dataclass(frozen=True)
class Act:
    """A command's words, the actions that the audit is to be told of, what to look at to see whether it was done, and in whose log it
    stands: the operator's when not said, and of ``A_NEW_ONE`` the company's that it makes.
    """

    words: tuple[object, ...]
    actions: tuple[str, ...]
    probe: Probe
    company: UUID | None = None


Scene = Callable[[World], Awaitable[Act]]


async def nothing() -> object:
    """Looked at where nothing is changed."""
    return None


async def company_create(world: World) -> Act:
    name = unique("Initech")

    async def made() -> object:
        return await world.superuser.fetchval("SELECT count(*) FROM company WHERE name = $1", name)

    return Act(("company", "create", name, "--region", "us"), ("company.create", "key.create"), made, A_NEW_ONE)


async def company_plan(world: World) -> Act:
    return Act(
        ("company", "plan", world.tenant.id, "FREE"), ("company.plan",), partial(world.row, "company", world.tenant.id), world.tenant.id
    )


async def company_override(world: World) -> Act:
    words = ("company", "override", world.tenant.id, "hotDays=9")
    return Act(words, ("company.override",), partial(world.row, "company", world.tenant.id), world.tenant.id)


async def workspace_create(world: World) -> Act:
    words = ("workspace", "create", world.tenant.id, "Staging")
    return Act(words, ("workspace.create", "key.create"), partial(world.count, "workspace"), world.tenant.id)


async def workspace_archive(world: World) -> Act:
    return Act(
        ("workspace", "archive", world.workspace), ("workspace.archive",), partial(world.row, "workspace", world.workspace), world.tenant.id
    )


async def workspace_unarchive(world: World) -> Act:
    await world.do("UPDATE workspace SET archived_at = now() WHERE id = $1", world.workspace)
    return Act(
        ("workspace", "unarchive", world.workspace),
        ("workspace.unarchive",),
        partial(world.row, "workspace", world.workspace),
        world.tenant.id,
    )


async def project_create(world: World) -> Act:
    words = ("project", "create", world.workspace, "Robots")
    return Act(words, ("project.create",), partial(world.count, "project"), world.tenant.id)


async def key_create(world: World) -> Act:
    words = ("key", "create", world.tenant.id, "CI", "--workspace", world.workspace)
    return Act(words, ("key.create",), partial(world.count, "api_key"), world.tenant.id)


async def key_allow(world: World) -> Act:
    key = await world.key()
    return Act(("key", "allow", key, "10.0.0.0/8"), ("key.allowlist",), partial(world.row, "api_key", key), world.tenant.id)


async def key_rotate(world: World) -> Act:
    key = await world.key()
    return Act(("key", "rotate", key), ("key.rotate",), partial(world.row, "api_key", key), world.tenant.id)


async def key_revoke(world: World) -> Act:
    key = await world.key()
    return Act(("key", "revoke", key), ("key.revoke",), partial(world.row, "api_key", key), world.tenant.id)


async def seed_first(world: World) -> Act:
    """The very first company, with a workspace, a project and a key of each kind."""
    world.as_role(Role.ADMIN, SEED_REGION="US")

    async def made() -> object:
        return await world.superuser.fetchval("SELECT count(*) FROM company WHERE name = $1", seed.COMPANY)

    actions = ("company.create", "key.create", "workspace.create", "project.create", "key.create")
    return Act(("seed",), actions, made, A_NEW_ONE)


async def unpark(world: World) -> Act:
    topic = ingest_topic(Region.US)
    topic_id = (await describe(world.servers.settings(Role.OWNER), Region.US))[topic].id
    insert = "INSERT INTO source (topic, partition, topic_id, parked_reason, parked_at) VALUES ($1, $2, $3, 'LOG_BEHIND', now())"
    await world.do("DELETE FROM source WHERE partition = $1", PARTITION)
    await world.do(insert, topic, PARTITION, topic_id)

    async def parked() -> object:
        return await world.superuser.fetchval("SELECT parked_reason FROM source WHERE partition = $1", PARTITION)

    return Act(("unpark", "--region", "us", "--partition", PARTITION, "--reason", "looked into"), ("partition.unpark",), parked)


async def rekey(world: World) -> Act:
    await world.do("DELETE FROM webhook")
    await world.do("DELETE FROM company_data_key")  # of other tests' archives
    old = Sealer([bytes.fromhex(OTHER_KEY)]).seal(b"x" * 32, str(world.tenant.id))
    await world.do("INSERT INTO company_data_key (company_id, wrapped) VALUES ($1, $2)", world.tenant.id, old)
    world.as_role(Role.ADMIN, ARCHIVE_KEY_PREVIOUS=OTHER_KEY)

    async def wrapped() -> object:
        return await world.superuser.fetchval("SELECT wrapped FROM company_data_key WHERE company_id = $1", world.tenant.id)

    return Act(("rekey",), ("company.rekey",), wrapped)


async def jobs_run(world: World) -> Act:
    async def runs() -> object:
        return await world.superuser.fetchval("SELECT count(*) FROM job_run WHERE by_hand")

    return Act(("jobs", "run", "archive-expiry", "--region", "us"), ("job.run",), runs)


def deciding(verb: str, *more: str) -> Scene:
    async def prepare(world: World) -> Act:
        archive = await cold_archive(world.superuser, world.tenant.id, secrets.randbelow(1 << 30) + 1)
        request = UUID(await put_request(world.superuser, str(world.tenant.id), archive, "archives/x", State.PENDING))
        probe = partial(world.row, "restore_request", request)
        return Act(("restore", verb, request, *more), (f"restore.{verb}",), probe, world.tenant.id)

    return prepare


CHANGES: Mapping[str, Scene] = {
    "company create": company_create,
    "company override": company_override,
    "company plan": company_plan,
    "jobs run": jobs_run,
    "key allow": key_allow,
    "key create": key_create,
    "key revoke": key_revoke,
    "key rotate": key_rotate,
    "project create": project_create,
    "rekey": rekey,
    "restore approve": deciding("approve"),
    "restore cancel": deciding("cancel", "--reason", "a mistake"),
    "restore reject": deciding("reject", "--reason", "too dear"),
    "seed": seed_first,
    "unpark": unpark,
    "workspace archive": workspace_archive,
    "workspace create": workspace_create,
    "workspace unarchive": workspace_unarchive,
}


def of_audit(*words: str, action: str) -> Scene:
    """Done to the AUDIT workspace, which is nobody's to change; ``AUDIT`` and ``COMPANY`` stand for ids."""

    async def scene(world: World) -> Act:
        ids: dict[str, object] = {"AUDIT": await audit_workspace(world.superuser, world.tenant.id), "COMPANY": world.tenant.id}
        return Act(tuple(ids.get(word, word) for word in words), (action,), nothing, world.tenant.id)

    return scene


def of_revoked_key(verb: str, action: str) -> Scene:
    """Done to a key that is no more."""

    async def scene(world: World) -> Act:
        key = await world.key()
        await world.do("UPDATE api_key SET revoked_at = now() WHERE id = $1", key)
        return Act(("key", verb, key), (action,), nothing, world.tenant.id)

    return scene


def of_decided(verb: str, *more: str) -> Scene:
    """Done to a restore request that was rejected already."""

    async def scene(world: World) -> Act:
        request = await put_request(world.superuser, str(world.tenant.id), str(uuid4()), "archives/x", State.REJECTED)
        return Act(("restore", verb, request, *more), (f"restore.{verb}",), nothing, world.tenant.id)

    return scene


async def unpark_what_goes_on(_world: World) -> Act:
    """A partition that nobody parked."""
    return Act(("unpark", "--region", "us", "--partition", 7, "--reason", "none"), ("partition.unpark",), nothing)


async def run_in_another_time(world: World) -> Act:
    """A job whose time is moved, on a database that is no demo's."""
    await world.do("UPDATE database_region SET is_demo = false")
    return Act(("jobs", "run", "purge", "--region", "us", "--as-of", "2030-01-01T00:00:00Z"), ("job.run",), nothing)


REFUSALS: Mapping[str, Scene] = {
    "jobs run": run_in_another_time,
    "key allow": of_revoked_key("allow", "key.allowlist"),
    "key create": of_audit("key", "create", "COMPANY", "X", "--workspace", "AUDIT", action="key.create"),
    "key revoke": of_revoked_key("revoke", "key.revoke"),
    "key rotate": of_revoked_key("rotate", "key.rotate"),
    "project create": of_audit("project", "create", "AUDIT", "X", action="project.create"),
    "restore approve": of_decided("approve"),
    "restore cancel": of_decided("cancel", "--reason", "a mistake"),
    "restore reject": of_decided("reject", "--reason", "too dear"),
    "unpark": unpark_what_goes_on,
    "workspace archive": of_audit("workspace", "archive", "AUDIT", action="workspace.archive"),
    "workspace unarchive": of_audit("workspace", "unarchive", "AUDIT", action="workspace.unarchive"),
}
