"""``hyrelog restore``: what companies asked to have restored, and deciding it. The company's audit is told, of refusals too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, NoReturn
from uuid import UUID

import typer

from ops import audit, db
from ops.clock import SystemClock
from ops.local.environment import Role, ambient_environ, settings_of
from ops.output import AsJson, echo_json, listing, show, table
from ops.regions import Regions, find_in, from_each, is_away
from ops.regions import reason as reason_of
from ops.restore import requests
from ops.restore.rows import Person, RestoreRequest
from ops.settings import Settings
from schemas.audit import Outcome
from schemas.problems import NotFound, Problem, ValidationFailed
from schemas.restore import State
from schemas.topics import Region

Decision = Callable[..., Awaitable[RestoreRequest]]
"""One of ``ops.restore.requests``: on a connection, about an id, by whom and when."""
Where = Annotated[Region | None, typer.Option("--region", help="Its region; without it, all served ones are asked.", case_sensitive=False)]
RequestId = Annotated[UUID, typer.Argument(metavar="ID", help="The request's id.")]

_ROW = ("region", "id", "companyId", "status", "tier", "days", "sizeBytes", "costUsd", "requestedBy", "requestedAt")


def register(app: typer.Typer) -> None:
    """Add the group ``restore``."""
    group = typer.Typer(no_args_is_help=True, help="Requests to restore cold archives.")
    for name, command in (("list", list_all), ("show", show_one), ("approve", approve), ("reject", reject), ("cancel", cancel)):
        group.command(name)(command)
    app.add_typer(group, name="restore")


def list_all(
    region: Regions = None,
    status: Annotated[State | None, typer.Option(help="Only those that stand so.", case_sensitive=False)] = None,
    company: Annotated[UUID | None, typer.Option(help="Only this company's.")] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1, max=100_000)] = 200,
    as_json: AsJson = False,
) -> None:
    """List restore requests, the newest first."""
    settings = _settings()
    found, is_whole = from_each(region or settings.regions, lambda each: asyncio.run(_page(settings, each, company, status, limit)))
    rows = sorted((_shown(each, request) for each, request in found), key=lambda row: str(row["id"]), reverse=True)[:limit]
    listing(rows if as_json else [_flat(row) for row in rows], _ROW, as_json=as_json)
    raise typer.Exit(0 if is_whole else 1)


def show_one(id: RequestId, region: Where = None, as_json: AsJson = False) -> None:
    """Show a restore request: how far it is, and what it is expected to cost and take."""
    settings = _settings()
    where, found = _find(settings, id, region)
    _print(_shown(where, found), as_json=as_json)


def approve(id: RequestId, region: Where = None, as_json: AsJson = False) -> None:
    """Approve a request: within five minutes the object store is asked. Who asked for it may not."""
    _decide(id, region, "restore.approve", requests.approve, as_json=as_json)


def reject(
    id: RequestId, reason: Annotated[str, typer.Option(help="Why; the company reads it.")], region: Where = None, as_json: AsJson = False
) -> None:
    """Reject a request."""
    _decide(id, region, "restore.reject", partial(requests.reject, reason=reason), as_json=as_json, reason=reason)


def cancel(
    id: RequestId, reason: Annotated[str, typer.Option(help="Why; the company reads it.")], region: Where = None, as_json: AsJson = False
) -> None:
    """Cancel a request that is pending or approved; once the object store was asked there is no way back."""
    _decide(id, region, "restore.cancel", partial(requests.cancel, company_id=None, reason=reason), as_json=as_json, reason=reason)


def _decide(id: UUID, region: Region | None, action: str, decision: Decision, *, as_json: bool, **told: str) -> None:
    settings = _settings()
    where, found = _find(settings, id, region)
    try:
        decided = asyncio.run(decide(settings, where, found, action, decision, told))
    except ValidationFailed as problem:
        _fail("; ".join(f"{detail.field} {detail.message}" for detail in problem.details), 2)
    except Problem as problem:
        _fail(problem.sentence, 1)
    except Exception as error:
        if not is_away(error):
            raise
        _fail(f"{where} can't tell, and it may have been done: {reason_of(error)}", 1)
    _print(_shown(where, decided), as_json=as_json)


async def decide(
    settings: Settings, region: Region, found: RestoreRequest, action: str, decision: Decision, told: dict[str, str]
) -> RestoreRequest:
    """Carry out the operator's decision in one transaction with its entry. Raises what the decision does, and the audit is told of that."""
    actor, now = Person(audit.operator()["id"], None), SystemClock().micros()

    async def tell(outcome: Outcome, metadata: dict[str, Any]) -> None:
        entry = audit.by_operator(action, found.target(), metadata, outcome)
        await audit.write(connection, entry, region=region, company_id=found.company_id, now=now)

    async with _connected(settings, region) as connection:
        try:
            async with connection.transaction():
                decided = await decision(connection, found.id, by=actor, now=now)
                await tell(Outcome.SUCCESS, decided.told() | told)
        except ValidationFailed:  # what was asked makes no sense, whatever it is about
            raise
        except Problem as problem:
            await tell(Outcome.DENIED, {"code": problem.code.value, "reason": problem.sentence})
            raise
    return decided


def _find(settings: Settings, id: UUID, region: Region | None) -> tuple[Region, RestoreRequest]:
    regions = (region,) if region else settings.regions
    return find_in(regions, lambda each: asyncio.run(_get(settings, each, id)), f"restore request {id}")


async def _get(settings: Settings, region: Region, id: UUID) -> Sequence[RestoreRequest]:
    async with _connected(settings, region) as connection:
        try:
            return [await requests.get(connection, str(id), company_id=None)]
        except NotFound:
            return []


async def _page(settings: Settings, region: Region, company: UUID | None, status: State | None, limit: int) -> Sequence[RestoreRequest]:
    async with _connected(settings, region) as connection:
        return await requests.page(connection, company_id=None if company is None else str(company), state=status, limit=limit)


@asynccontextmanager
async def _connected(settings: Settings, region: Region) -> AsyncIterator[db.Connection]:
    timeouts = db.Timeouts(statement=settings.statement_timeout_seconds)
    url = settings.database_url(region)
    pool = await db.open_pool(url, application_name="hyrelog-restore", region=region, max_size=1, timeouts=timeouts)
    async with pool, pool.acquire() as connection:
        yield connection


def _settings() -> Settings:
    return settings_of(Settings, ambient_environ(Role.ADMIN))


def _shown(region: Region, request: RestoreRequest) -> dict[str, Any]:
    return {"region": region.value, **request.shown()}


def _print(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json(shown)
    else:
        show(table(("restore request", ""), list(_flat(shown).items())))


def _flat(shown: dict[str, Any]) -> dict[str, Any]:
    """For people: who is who by one name, and what is estimated beside the rest."""
    names = {member: person and (person["email"] or person["id"]) for member, person in shown.items() if member.endswith("By")}
    plain = {member: value for member, value in shown.items() if member != "estimate"}
    return {**plain, **names, **shown["estimate"]}


def _fail(sentence: str, code: int) -> NoReturn:
    typer.echo(f"hyrelog: {sentence}", err=True)
    raise typer.Exit(code)
