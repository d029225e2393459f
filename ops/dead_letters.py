"""``hyrelog dead-letters``: what the sinks could not take. ``python -m sinks NAME --retry-dead`` tries it again."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from ops import db
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import Settings
from schemas.event import format_time
from schemas.topics import Region

_COLUMNS = ("region", "sink", "id", "diedAt", "partition", "offset", "workspaceId", "seq", "reason")


def register(app: typer.Typer) -> None:
    """Add the command ``dead-letters``."""
    app.command("dead-letters")(dead_letters)


def dead_letters(
    region: Annotated[Region | None, typer.Option(help="Only this region.", case_sensitive=False)] = None,
    limit: Annotated[int, typer.Option(help="The newest so many of a region.", min=1)] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """List what the sinks could not take, newest first. The events themselves are in their chains."""
    settings = settings_of(Settings, ambient_environ(Role.OWNER))
    rows = [row for one in ([region] if region else settings.regions) for row in asyncio.run(find(settings, one, limit))]
    if as_json:
        typer.echo(orjson.dumps(rows))
        return
    table = Table(*_COLUMNS)
    for row in rows:
        table.add_row(*("" if row[name] is None else str(row[name]) for name in _COLUMNS))
    Console().print(table)


async def find(settings: Settings, region: Region, limit: int) -> list[dict[str, Any]]:
    """The newest dead letters of a region, by the columns' names. A record that could not be read has no workspace and no seq."""
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-dead-letters", region=region, max_size=1)
    try:
        rows = await pool.fetch(db.load_queries("ops")["list_dead"], limit)
    finally:
        await pool.close()
    found = [dict(zip(_COLUMNS, (region.value, *row), strict=True)) for row in rows]
    return [row | {"diedAt": format_time(row["diedAt"]), "workspaceId": row["workspaceId"] and str(row["workspaceId"])} for row in found]
