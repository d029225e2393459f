"""``hyrelog admin``: what is there, for people and for programs, of all regions that answer."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from api import models
from api.dashboard import models as dashboard
from api.dashboard.admin import models as admin
from ops.local.environment import Role
from schemas.restore import State
from tests.support.commanding import World, unique
from tests.support.managing import Database
from tests.support.neighbours import cold_archive
from tests.support.restoring import put_request
from tests.support.stack import LocalStack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z").fullmatch
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=2"


@pytest.fixture
async def world(servers: LocalStack, superuser: Database) -> AsyncIterator[World]:
    world = World(servers, superuser, servers.tenant())
    yield world
    await world.clear()


async def read(world: World, *words: object, exit_code: int = 0) -> Any:
    """The document that a command prints, and nothing else on stdout."""
    done = await world.run("admin", *words, "--json")
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


def members(model: type[BaseModel]) -> set[str]:
    """The names that the API's objects of a kind have."""
    return {field.alias or name for name, field in model.model_fields.items()}


def times(document: Any) -> Iterator[str]:
    """All that is named as a time."""
    if isinstance(document, dict):
        yield from (value for name, value in document.items() if name.endswith(("At", "Until")) and value is not None)
    for each in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from times(each)


LISTINGS = {
    "company list": ("company", "list", "--search", "COMPANY"),
    "company show": ("company", "show", "COMPANY"),
    "dead-letters": ("dead-letters", "--region", "us"),
    "jobs show": ("jobs", "show", "--region", "us"),
    "key list": ("key", "list", "COMPANY"),
    "plan list": ("plan", "list"),
    "plan show": ("plan", "show", "GROWTH"),
    "project list": ("project", "list", "COMPANY"),
    "restore list": ("restore", "list", "--company", "COMPANY"),
    "restore show": ("restore", "show", "REQUEST"),
    "workspace list": ("workspace", "list", "COMPANY"),
}


@pytest.mark.parametrize("name", LISTINGS)
async def test_each_listing_is_a_table_for_people_and_a_document_for_programs(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the document as an id is in the table, whole on the narrowest terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    await world.do("INSERT INTO search_dead (topic, partition, workspace_id, seq, reason) VALUES ('t', 0, $1, 1, 'x')", world.workspace)
    request = await put_request(world.superuser, str(world.tenant.id), str(uuid4()), "archives/x", State.PENDING)
    ids = {"COMPANY": str(world.tenant.id), "REQUEST": request}
    words = [ids.get(word, word) for word in LISTINGS[name]]
    document = await read(world, *words)
    assert all(map(TIME, times(document)))
    rows = document if isinstance(document, list) else [document]
    table = await world.run("admin", *words)
    assert (table.exit_code, table.stderr) == (0, "")
    assert all(row[member] in table.stdout for row in rows for member in ("id", "workspaceId") if isinstance(row.get(member), str))
    assert rows or name == "jobs show"


async def test_objects_have_the_names_that_the_api_gives_them(world: World) -> None:
    """So that a program reads either."""
    company = world.tenant.id
    await put_request(world.superuser, str(company), str(uuid4()), "archives/x", State.PENDING)
    (row,) = await read(world, "company", "list", "--search", str(company))
    assert set(row) == members(admin.CompanyRow)
    shown = await read(world, "company", "show", company)
    assert set(shown) == members(dashboard.Company) - {"used"} | {"workspaces", "projects", "keys"}
    assert {frozenset(each) for each in shown["workspaces"]} == {frozenset(members(models.Workspace) - {"seq"})}
    assert {frozenset(each) for each in shown["projects"]} == {frozenset(members(models.Project))}
    assert {frozenset(each) for each in shown["keys"]} == {frozenset(members(models.Key))}
    (request,) = await read(world, "restore", "list", "--company", company)
    assert set(request) == members(dashboard.RestoreRequest) | {"region"}
    plans = await read(world, "plan", "list")
    assert [plan["name"] for plan in plans] == ["FREE", "STARTER", "GROWTH", "ENTERPRISE"]
    assert {frozenset(plan["limits"]) for plan in plans} == {frozenset(members(models.Limits))}
    assert {tuple(plan["regions"]) for plan in plans} == {("US", "EU", "UK", "AU")}


async def test_what_is_made_is_told_with_its_key_this_once(world: World) -> None:
    company = await read(world, "company", "create", unique("Initech"), "--region", "eu", "--plan", "STARTER")
    workspace = await read(world, "workspace", "create", company["id"], "Production")
    project = await read(world, "project", "create", workspace["id"], "Main")
    key = await read(world, "key", "create", company["id"], "CI", "--allow", "10.0.0.0/8")
    rotated = await read(world, "key", "rotate", key["id"])
    assert (company["region"], company["plan"], project["workspaceId"]) == ("EU", "STARTER", workspace["id"])
    assert set(key) == members(models.NewKey)
    assert set(rotated) == members(models.RotatedKey)
    shown = await world.run("admin", "company", "show", company["id"], "--json")
    made = {each["id"]: each for each in (company["firstKey"], workspace["firstKey"], key, rotated)}
    assert {each["id"] for each in json.loads(shown.stdout)["keys"]} == set(made)
    assert not any(each["key"] in shown.stdout for each in made.values())
    assert [each["id"] for each in await read(world, "key", "list", company["id"], "--workspace", workspace["id"])] == [
        workspace["firstKey"]["id"]
    ]


@pytest.mark.parametrize("name", ["company list", "plan list", "jobs show", "dead-letters", "restore list"])
async def test_a_region_that_is_away_is_named_and_the_others_are_answered(world: World, name: str) -> None:
    role = {"jobs show": Role.SCHEDULER, "dead-letters": Role.OWNER}.get(name, Role.ADMIN)
    world.as_role(role, REGIONS="US,EU", DATABASE_URL_EU=NOWHERE)
    await world.do("INSERT INTO search_dead (topic, partition, workspace_id, seq, reason) VALUES ('t', 0, $1, 1, 'x')", world.workspace)
    await put_request(world.superuser, str(world.tenant.id), str(uuid4()), "archives/x", State.PENDING)
    done = await world.run("admin", *name.split(), "--json")
    assert done.exit_code == 1
    assert re.fullmatch(r"EU: can't tell: .*(refused|Connect call failed).*\n", done.stderr)
    assert json.loads(done.stdout) or name == "jobs show"
    assert "EU" not in done.stdout


async def test_what_lives_in_a_region_that_answers_can_be_worked_on(world: World) -> None:
    """The one that is away may come first."""
    world.as_role(Role.ADMIN, REGIONS="EU,US", DATABASE_URL_EU=NOWHERE)
    assert (await world.run("admin", "key", "revoke", await world.key())).exit_code == 0
    nowhere = await world.run("admin", "key", "revoke", uuid4())
    assert nowhere.exit_code == 1
    assert nowhere.stderr.splitlines()[-1].endswith("in US")


async def test_companies_are_found_by_a_part_of_their_name_or_their_id(world: World) -> None:
    name = unique("50%_Straße")
    made = [
        await read(world, "company", "create", f"{name} {number}", "--region", region) for number, region in enumerate(("us", "au", "eu"))
    ]

    async def found(*words: object) -> list[str]:
        return [row["id"] for row in await read(world, "company", "list", *words)]

    newest_first = [each["id"] for each in reversed(made)]
    assert await found("--search", name.upper().replace("STRASSE", "STRAßE")) == newest_first
    assert await found("--search", name, "--region", "us", "--region", "eu") == [newest_first[0], newest_first[2]]
    assert await found("--search", made[1]["id"].upper()) == [made[1]["id"]]
    assert await found("--search", name.replace("%_", "__")) == []
    limited = await world.run("admin", "company", "list", "--search", name, "--limit", "2", "--json")
    assert [row["id"] for row in json.loads(limited.stdout)] == newest_first[:2]
    assert "more than these 2" in limited.stderr


async def test_a_plan_that_is_not_the_same_everywhere_is_told(world: World) -> None:
    await world.do("""UPDATE plan SET limits = limits || '{"webhooks": 21}' WHERE name = 'ENTERPRISE'""")
    try:
        plans = {
            tuple(plan["regions"]): plan["limits"]["webhooks"] for plan in await read(world, "plan", "list") if plan["name"] == "ENTERPRISE"
        }
        assert plans == {("US",): 21, ("EU", "UK", "AU"): 20}
        unclear = await world.run("admin", "plan", "show", "ENTERPRISE", "--json")
        assert (unclear.exit_code, unclear.stdout) == (1, "")
        assert "US, EU: say --region" in unclear.stderr
        assert (await read(world, "plan", "show", "ENTERPRISE", "--region", "eu"))["limits"]["webhooks"] == 20
    finally:
        await world.do("""UPDATE plan SET limits = limits || '{"webhooks": 20}' WHERE name = 'ENTERPRISE'""")


async def test_deciding_shows_how_the_request_stands(world: World) -> None:
    async def ask() -> UUID:
        archive = await cold_archive(world.superuser, world.tenant.id, secrets.randbelow(1 << 30) + 1)
        return UUID(await put_request(world.superuser, str(world.tenant.id), archive, "archives/x", State.PENDING))

    requests = [await ask() for _ in range(3)]
    decided = [
        await read(world, "restore", "approve", requests[0]),
        await read(world, "restore", "reject", requests[1], "--reason", "too dear"),
        await read(world, "restore", "cancel", requests[2], "--reason", "a mistake"),
    ]
    assert [(each["status"], each["reason"]) for each in decided] == [
        ("APPROVED", None),
        ("REJECTED", "too dear"),
        ("CANCELLED", "a mistake"),
    ]
    again = await world.run("admin", "restore", "approve", requests[0])
    assert (again.exit_code, again.stderr) == (1, "hyrelog: The request is APPROVED and can't be approved.\n")
    empty = await world.run("admin", "restore", "reject", requests[0], "--reason", " ")
    assert (empty.exit_code, empty.stdout) == (2, "")
    waiting = await read(world, "restore", "list", "--company", world.tenant.id, "--status", "pending")
    assert waiting == []


@pytest.mark.parametrize("words", ["company plan x FREE", "key rotate {} --overlap 90000", "company list --limit 0", "plan show HUGE"])
async def test_bad_usage_is_told_apart(world: World, words: str) -> None:
    assert (await world.run("admin", *words.format(uuid4()).split())).exit_code == 2
