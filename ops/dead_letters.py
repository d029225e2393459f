"""``hyrelog dead-letters``: what the sinks could not take. ``python -m sinks NAME --retry-dead`` tries it again."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from ops import db
from ops.local.environment import Role, ambient_environ, settings_of
from ops.output import AsJson, listing
from ops.regions import Regions, from_each
from ops.settings import Settings
from schemas.event import format_time
from schemas.topics import Region

_COLUMNS = ("region", "sink", "id", "diedAt", "partition", "offset", "workspaceId", "seq", "reason")


def register(app: typer.Typer) -> None:
    """Add the command ``dead-letters``."""
    app.command("dead-letters")(dead_letters)


def dead_letters(
    region: Regions = None,
    limit: Annotated[int, typer.Option(help="The newest so many of a region.", min=1)] = 200,
    as_json: AsJson = False,
) -> None:
    """List what the sinks could not take, newest first. The events themselves are in their chains."""
    settings = settings_of(Settings, ambient_environ(Role.OWNER))
    found, is_whole = from_each(region or settings.regions, lambda each: asyncio.run(find(settings, each, limit)))
    listing([row for _region, row in found], _COLUMNS, as_json=as_json)
    raise typer.Exit(0 if is_whole else 1)


async def find(settings: Settings, region: Region, limit: int) -> list[dict[str, Any]]:
    """The newest dead letters of a region, by the columns' names. A record that could not be read has no workspace and no seq."""
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-dead-letters", region=region, max_size=1)
    try:
        rows = await pool.fetch(db.load_queries("ops")["list_dead"], limit)
    finally:
        await pool.close()
    found = [dict(zip(_COLUMNS, (region.value, *row), strict=True)) for row in rows]
    return [row | {"diedAt": format_time(row["diedAt"]), "workspaceId": row["workspaceId"] and str(row["workspaceId"])} for row in found]
