"""``hyrelog partitions``: how far each partition of the ingest topics has come, as the database and the log themselves say.

The chain workers' metrics tell the same of the partitions they hold; this answers while no worker runs, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import orjson
import typer
from rich.console import Console
from rich.table import Table

from ops import db, failures
from ops.kafka import Bounds, KafkaError, LogView, Topic, TopicMismatch
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import Settings
from schemas.event import format_time
from schemas.topics import Region, ingest_topic


class Standing(NamedTuple):
    """How far a partition has come."""

    partition: int
    waiting: int | None
    """Records that are not persisted; ``None`` when the log is another one than the position is of."""
    unannounced: int
    """Records that are persisted and perhaps not on the events topic."""
    parked_reason: str | None
    parked_at: int | None


def register(app: typer.Typer) -> None:
    """Add the command ``partitions``."""
    app.command("partitions")(partitions)


def partitions(
    region: Annotated[
        list[Region] | None, typer.Option(help="Only this region; may be given more than once.", case_sensitive=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how many accepted records wait in each partition, and which are parked. Exit code 1 when a region can't be asked."""
    settings = settings_of(Settings, ambient_environ(Role.OWNER))
    found: dict[Region, list[Standing]] = {}
    asked = region or settings.regions
    for each in asked:
        try:
            found[each] = asyncio.run(standings(settings, each))
        except Exception as error:
            if not (db.is_unavailable(error) or isinstance(error, (db.WrongRegion, KafkaError, TopicMismatch))):
                raise
            typer.echo(f"{each}: can't tell: {failures.summary(error)}", err=True)
    if as_json:
        rows = [_members(each, standing) for each, all_of_it in found.items() for standing in all_of_it]
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    elif found:
        _tell(found)
    raise typer.Exit(0 if len(found) == len(asked) else 1)


async def standings(settings: Settings, region: Region) -> list[Standing]:
    """The region's partitions by number. Raises what the pool does, ``KafkaError``, and ``TopicMismatch`` when there is no ingest topic."""
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-partitions", region=region, max_size=1)
    async with pool:
        rows = {row["partition"]: row for row in await pool.fetch(db.load_queries("ops")["list_sources"], ingest_topic(region))}
    topic, log = await _look(settings, region)
    return [_standing(partition, rows.get(partition), topic, bounds) for partition, bounds in sorted(log.items())]


def _standing(partition: int, row: db.Row | None, topic: Topic, log: Bounds) -> Standing:
    if row is None:  # no worker has ever held it
        return Standing(partition, log.end - log.start, 0, None, None)
    waiting = log.end + row["offset_base"] - row["next_offset"]
    known = row["topic_id"] == topic.id and waiting >= 0
    return Standing(partition, waiting if known else None, row["next_offset"] - row["announced"], row["parked_reason"], row["parked_at"])


async def _look(settings: Settings, region: Region) -> tuple[Topic, dict[int, Bounds]]:
    name = ingest_topic(region)
    view = LogView(settings, region)
    try:
        await view.start()
        topic = (await view.topics()).get(name)
        if topic is None:
            raise TopicMismatch(f"there is no topic {name}: `hyrelog prepare` makes it")
        return topic, await view.bounds(name, range(topic.partitions))
    finally:
        await view.stop()


def _tell(found: dict[Region, list[Standing]]) -> None:
    table = Table("region", "partition", "waiting", "not announced", "parked", "since")
    for region, all_of_it in found.items():
        for each in all_of_it:
            waiting = "?" if each.waiting is None else f"{each.waiting:,}"
            since = format_time(each.parked_at) if each.parked_at else ""
            table.add_row(region, str(each.partition), waiting, f"{each.unannounced:,}", each.parked_reason or "no", since)
    Console().print(table)
    for line in _sums(found):
        typer.echo(line)


def _sums(found: dict[Region, list[Standing]]) -> Iterator[str]:
    for region, all_of_it in found.items():
        waiting = sum(each.waiting or 0 for each in all_of_it)
        parked = sum(each.parked_reason is not None for each in all_of_it)
        yield f"{region}: {waiting:,} records wait, {parked} of {len(all_of_it)} partitions are parked"


def _members(region: Region, of: Standing) -> dict[str, object]:
    return {
        "region": region,
        "partition": of.partition,
        "waiting": of.waiting,
        "notAnnounced": of.unannounced,
        "parkedReason": of.parked_reason,
        "parkedAt": format_time(of.parked_at) if of.parked_at else None,
    }
