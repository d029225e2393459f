"""``/dashboard/admin``: companies, their plans, and the audit, of all regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from api import answers, body, parameters
from api.attempt import Attempt
from api.audited import AttemptOf, attempt_of
from api.context import PartsOf
from api.cursor import Position
from api.dashboard import models as own
from api.dashboard.admin import models
from api.dashboard.admin.operator import AuditFilter, Company, CompanyFilter
from api.dashboard.admin.wishes import AuditQuery, CompanyQuery, CompanyWish, Overrides, PlanWish
from api.dashboard.own import OF_BODY
from api.dashboard.route import OperatorActing, OperatorReading
from api.events import check_id
from api.shown import shown_company
from ops.auth import Principal
from ops.tenancy.registry import Registry
from schemas.keys import Scope
from schemas.plans import MEMBERS, check_overrides
from schemas.problems import Conflict, Forbidden, NotFound, Problem, Unavailable, ValidationFailed, invalid
from schemas.topics import Region
from schemas.view import render

reading = APIRouter(prefix="/dashboard/admin", tags=["admin"], route_class=OperatorReading)
acting = APIRouter(prefix="/dashboard/admin", tags=["admin"], route_class=OperatorActing)
OF_ALL: tuple[type[Problem], ...] = (ValidationFailed, Forbidden)
_LAST_ID = UUID(int=2**128 - 1)
_LATEST = Position(253_402_300_800_000_000, _LAST_ID.bytes)  # the beginning of the year 10000


async def _company(id: str, request: Request, parts: PartsOf) -> Principal:
    """The company that a path names; refusals are told in its audit from here on. Raises ``NotFound``, ``Unavailable``."""
    region, limits = await parts.directory.find(check_id(id))
    request.state.about = (region, id)
    return Principal(f"operator/{id}", region, Scope.COMPANY, id, None, None, limits, user=request.state.user)


CompanyOf = Annotated[Principal, Depends(_company)]


def _attempt(request: Request, parts: PartsOf, _about: CompanyOf) -> Attempt:
    return attempt_of(request, parts)


AttemptOnCompany = Annotated[Attempt, Depends(_attempt)]


@reading.get(
    "/companies",
    name="company.list",
    summary="Companies, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.CompanyPage, *OF_ALL),
)
async def list_companies(asked: Annotated[CompanyQuery, Query()], parts: PartsOf) -> Response:
    """Of all regions together. A region that can't be asked now stands in `unavailableRegions`: its companies are not in this list."""
    bound = {"route": "admin/companies", **asked.question()}
    before = UUID(bytes=parts.cursors.read(bound, asked.cursor).tie) if asked.cursor else _LAST_ID
    wanted = CompanyFilter(asked.search, asked.plan)
    found, away = await parts.operator.companies(regions_of(asked.region, parts), wanted, before, asked.limit + 1)
    shown = found[: asked.limit]
    more = parts.cursors.write(bound, Position(0, UUID(shown[-1].id).bytes)) if len(found) > asked.limit else None
    return answers.page((orjson.dumps(_row(each)) for each in shown), more, unavailableRegions=away)


@reading.get(
    "/companies/{id}",
    name="company.read",
    summary="Any company",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(own.Company, *OF_ALL, NotFound),
)
async def get_any_company(company: CompanyOf, parts: PartsOf) -> Response:
    """As its own people see it."""
    return answers.json(orjson.dumps(await _shown(company, parts)))


@acting.post(
    "/companies",
    name="company.create",
    summary="Make a company",
    status_code=201,
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(own.Company, *OF_ALL, *OF_BODY, status=201),
    openapi_extra=body.documented(CompanyWish),
)
async def create_company(request: Request, attempt: AttemptOf, parts: PartsOf) -> Response:
    """With nothing but its AUDIT workspace: its people make the rest, keys too. A 503 is an unknown outcome: look at the list."""
    wish = await body.read(request, CompanyWish, seconds=parts.body_timeout)
    region = Region(wish.region)
    if region not in parts.regions:
        raise invalid("region", f"is not served here; these are: {', '.join(parts.regions)}")
    made = await parts.operator.change(attempt, region, lambda registry: registry.add_company(wish.name, wish.plan))
    _region, limits = await parts.directory.find(str(made))
    company = Principal(f"operator/{made}", region, Scope.COMPANY, str(made), None, None, limits)
    return answers.json(orjson.dumps(await _shown(company, parts)), status=201)


@acting.post(
    "/companies/{id}/plan",
    name="company.plan",
    summary="Put a company on a plan",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.ChangedCompany, *OF_ALL, *OF_BODY, NotFound, Conflict),
    openapi_extra=body.documented(PlanWish),
)
async def set_plan(request: Request, company: CompanyOf, attempt: AttemptOnCompany, parts: PartsOf) -> Response:
    """Its overrides stay. A smaller plan deletes nothing: events keep the retention that they were received under, and the newest
    webhooks that it has no room for are disabled.
    """
    wish = await body.read(request, PlanWish, seconds=parts.body_timeout)
    return await _changed(attempt, company, parts, lambda registry: registry.set_plan(UUID(company.company_id), wish.plan))


@acting.put(
    "/companies/{id}/overrides",
    name="company.override",
    summary="Say what of its plan is otherwise for a company",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.ChangedCompany, *OF_ALL, *OF_BODY, NotFound, Conflict),
    openapi_extra=body.documented(Overrides),
)
async def set_overrides(request: Request, company: CompanyOf, attempt: AttemptOnCompany, parts: PartsOf) -> Response:
    """In place of all that was said before: `{}` leaves the plan as it is."""
    wish = (await body.read(request, Overrides, seconds=parts.body_timeout)).members()
    try:
        check_overrides(wish)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        raise invalid(name, text) from None

    def replace(registry: Registry) -> list[str]:
        _after, surplus = registry.override(UUID(company.company_id), wish, [name for name in MEMBERS if name not in wish])
        return surplus

    return await _changed(attempt, company, parts, replace)


@reading.get(
    "/plans",
    name="plan.list",
    summary="Plans",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.PlanPage, *OF_ALL),
)
async def list_plans(parts: PartsOf) -> Response:
    """What each allows, where a company has no overrides, as the first region has them that answers. `hyrelog plan list` compares all
    regions.
    """
    plans = await parts.operator.plans()
    rows = (orjson.dumps({"name": name, "limits": {member: limits[member] for member in MEMBERS}}) for name, limits in plans)
    return answers.page(rows, None)


@reading.get(
    "/audit-logs",
    name="audit.list",
    summary="What was done and refused, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.AuditPage, *OF_ALL),
)
async def list_audit_logs(request: Request, asked: Annotated[AuditQuery, Query()], parts: PartsOf) -> Response:
    """Events of the AUDIT workspaces of all companies and of the operator's own, of all regions together; an entry is there a moment after
    what it tells of. What is past its company's hot retention is in the archive. A region that can't be asked now stands in
    `unavailableRegions`.
    """
    bound = {"route": "admin/audit-logs", **asked.question()}
    before = parts.cursors.read(bound, asked.cursor) if asked.cursor else _LATEST
    outcome = None if asked.outcome is None else asked.outcome.value
    about = (asked.action, outcome, asked.actor_id, asked.actor_email, asked.target_id)
    wanted = AuditFilter(asked.company_id, asked.start, asked.end, *about)
    regions = regions_of(asked.region, parts)
    await note_whom(request, asked.company_id, parts)
    found, away = await parts.operator.audit_logs(regions, wanted, before, asked.limit + 1)
    shown = found[: asked.limit]
    more = None
    if len(found) > asked.limit:
        more = parts.cursors.write(bound, Position(shown[-1].timestamp, UUID(shown[-1].id).bytes))
    return answers.page((render(each, verification=False) for each in shown), more, unavailableRegions=away)


def regions_of(asked: Region | None, parts: PartsOf) -> Sequence[Region]:
    """Which regions to ask. Raises ``ValidationFailed`` for one that is not served here."""
    if asked is not None and asked not in parts.regions:
        raise invalid("region", f"is not served here; these are: {', '.join(parts.regions)}")
    return parts.regions if asked is None else (asked,)


async def note_whom(request: Request, company_id: str | None, parts: PartsOf) -> None:
    """Let the look at one company be told in that one's audit. Of nobody's there is nothing to see."""
    if company_id is not None:
        with suppress(NotFound, Unavailable):  # the list itself says which regions are away
            request.state.about = ((await parts.directory.find(company_id))[0], company_id)


async def _changed(attempt: Attempt, company: Principal, parts: PartsOf, work: Callable[[Registry], list[str]]) -> Response:
    """Change a company, and show it with the webhooks that were disabled."""
    surplus = await parts.operator.change(attempt, company.region, work)
    return answers.json(orjson.dumps(await _shown(company, parts) | {"disabledWebhooks": surplus}))


async def _shown(company: Principal, parts: PartsOf) -> dict[str, Any]:
    return shown_company(await parts.store.company(company), company.region)


def _row(company: Company) -> dict[str, Any]:
    return {
        "id": company.id,
        "name": company.name,
        "region": company.region.value,
        "plan": company.plan,
        "overrides": orjson.loads(company.overrides),
        "createdAt": answers.time(company.created_at),
    }
