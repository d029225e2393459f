"""``hyrelog lifecycle``: the rules by which a bucket moves archives to cold storage and clears up uploads that nobody finished.

The archive sink tags each object with the days after which it goes cold; here is the rule for each tag. Rules of others in the same bucket
stay as they are: ours have names of our own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

import typer

from ops import audit, db
from ops.clock import SystemClock
from ops.local.environment import Role, ambient_environ, settings_of
from ops.objects import Denied, Lifecycle, ObjectStore, StoreUnavailable, Unsupported
from ops.settings import Settings
from schemas.archive import COLD_TAG
from schemas.topics import Region

COLD_CLASS: Final = "GLACIER"
ABANDONED_DAYS: Final = 7
_ANY_SIZE = 1
_OURS = "hyrelog-"
_ARCHIVES = "archives/"


class State(StrEnum):
    """How a rule stands."""

    AS_WANTED = "as it should be"
    MISSING = "missing"
    OTHER = "not what it should be"
    LEFT_OVER = "no longer wanted"


class Standing(NamedTuple):
    """One of our rules: its name, what it is for, and how it stands."""

    name: str
    purpose: str
    state: State


def register(app: typer.Typer) -> None:
    """Add the command ``lifecycle``."""
    app.command("lifecycle")(lifecycle_command)


def lifecycle_command(
    region: Annotated[Region | None, typer.Option(help="One region; by default all of them.", case_sensitive=False)] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Set the rules, instead of only comparing.")] = False,
) -> None:
    """Compare buckets' lifecycle rules with what plans say of cold archives, or set them. Exit code 1 when a bucket's are not so."""
    settings = settings_of(Settings, ambient_environ(Role.SCHEDULER))
    regions = settings.regions if region is None else (region,)
    if not all([_tell(settings, each, apply=apply) for each in regions]):  # noqa: C419 - each is to be told of
        raise typer.Exit(code=1)


def _tell(settings: Settings, region: Region, *, apply: bool) -> bool:
    """Print one region's rules; whether they are as wanted."""
    try:
        standings = asyncio.run(look(settings, region, apply=apply))
    except Unsupported:
        typer.echo(f"{region}: the object store has no lifecycle rules; archives stay in the class that they were written in.", err=True)
        return False
    except (StoreUnavailable, Denied) as error:
        typer.echo(f"{region}: the object store did not answer, or not to us: {error}", err=True)
        return False
    for standing in standings:
        typer.echo(f"{region}: {standing.name} ({standing.purpose}) is {standing.state}")
    return all(standing.state is State.AS_WANTED for standing in standings)


async def look(settings: Settings, region: Region, *, apply: bool) -> list[Standing]:
    """How the region's rules stand, read back after they were set. Raises what the stores raise."""
    objects = ObjectStore.of(settings, region)
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-lifecycle", region=region, max_size=1)
    async with pool, pool.acquire() as connection:
        days = [row[0] for row in await connection.fetch(db.load_queries("ops", "lifecycle.sql")["cold_days"])]
        wanted = rules(days)
        found = await asyncio.to_thread(objects.lifecycle)
        if apply and any(standing.state is not State.AS_WANTED for standing in compared(wanted, found.rules)):
            async with connection.transaction():
                await _note(connection, region, objects.bucket, days)
                await asyncio.to_thread(objects.put_lifecycle, Lifecycle(merged(wanted, found.rules), found.least_size))
            found = await asyncio.to_thread(objects.lifecycle)
    return compared(wanted, found.rules)


def rules(days: Sequence[int]) -> list[dict[str, Any]]:
    """What a bucket is to do, in S3's words: objects tagged with one of these days go cold after them."""
    return [*map(_cold_rule, days), _abandoned_rule()]


def merged(wanted: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rules that the bucket is to have: ours, behind those of others."""
    return [*(rule for rule in found if not _is_ours(rule)), *wanted]


def compared(wanted: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[Standing]:
    """How each rule of ours stands."""
    ours = {rule["ID"]: rule for rule in found if _is_ours(rule)}
    standings = [Standing(rule["ID"], _purpose(rule), _state(rule, ours.pop(rule["ID"], None))) for rule in wanted]
    return [*standings, *(Standing(name, _purpose(rule), State.LEFT_OVER) for name, rule in ours.items())]


def _cold_rule(days: int) -> dict[str, Any]:
    # A size in the filter, as objects below 128 KiB would else stay warm, while their parts are marked as cold.
    which = {"Prefix": _ARCHIVES, "Tags": [{"Key": COLD_TAG, "Value": str(days)}], "ObjectSizeGreaterThan": _ANY_SIZE}
    transition = {"Days": days, "StorageClass": COLD_CLASS}
    return {"ID": f"{_OURS}cold-{days}", "Status": "Enabled", "Filter": {"And": which}, "Transitions": [transition]}


def _abandoned_rule() -> dict[str, Any]:
    after = {"DaysAfterInitiation": ABANDONED_DAYS}
    return {"ID": f"{_OURS}uploads", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": after}


def _is_ours(rule: dict[str, Any]) -> bool:
    return str(rule.get("ID", "")).startswith(_OURS)


def _state(wanted: dict[str, Any], found: dict[str, Any] | None) -> State:
    if found is None:
        return State.MISSING
    return State.AS_WANTED if _plain(wanted) == _plain(found) else State.OTHER


def _plain(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule in one form, as stores differ in what they give back of what says nothing."""
    plain = {name: value for name, value in rule.items() if value not in (None, [], {}, {"Prefix": ""})}
    both = rule.get("Filter", {}).get("And", {})
    if both.get("ObjectSizeGreaterThan", _ANY_SIZE) == _ANY_SIZE:  # stores that know no sizes forget it, and keep to none
        plain["Filter"] = {"And": {**both, "ObjectSizeGreaterThan": _ANY_SIZE}} if both else plain.get("Filter")
    return plain


def _purpose(rule: dict[str, Any]) -> str:
    transitions = [f"to {each.get('StorageClass')} after {each.get('Days')} days" for each in rule.get("Transitions", ())]
    if abandoned := rule.get("AbortIncompleteMultipartUpload"):
        transitions.append(f"unfinished uploads end after {abandoned.get('DaysAfterInitiation')} days")
    return ", ".join(transitions) or "neither moves nor ends anything"


async def _note(connection: db.Connection, region: Region, bucket: str, days: Sequence[int]) -> None:
    """In the operator's audit: kept if the rules are set, and only then."""
    detail = {"coldAfterDays": list(days), "storageClass": COLD_CLASS, "abandonedAfterDays": ABANDONED_DAYS}
    entry = audit.by_operator("lifecycle.apply", {"id": bucket, "type": "bucket"}, detail)
    await audit.write(connection, entry, region=region, company_id=None, now=SystemClock().micros())
