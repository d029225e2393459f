"""``hyrelog partitions``: how far each partition of the ingest topics has come, as the database and the log themselves say.

The chain workers' metrics tell the same of the partitions they hold; this answers while no worker runs, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import typer
from rich.table import Table

from ops import db
from ops.kafka import Bounds, KafkaError, LogView, Topic, TopicMismatch
from ops.local.environment import Role, ambient_environ, settings_of
from ops.output import AsJson, echo_json, show
from ops.regions import Regions, from_each
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


def partitions(region: Regions = None, as_json: AsJson = False) -> None:
    """Show how many accepted records wait in each partition, and which are parked. Exit code 1 when a region can't be asked."""
    settings = settings_of(Settings, ambient_environ(Role.OWNER))
    found, is_whole = from_each(
        region or settings.regions, lambda each: asyncio.run(standings(settings, each)), away=(KafkaError, TopicMismatch)
    )
    if as_json:
        echo_json([_members(each, standing) for each, standing in found])
    elif found:
        _tell(found)
    raise typer.Exit(0 if is_whole else 1)


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


def _tell(found: Sequence[tuple[Region, Standing]]) -> None:
    table = Table("region", "partition", "waiting", "not announced", "parked", "since")
    for region, each in found:
        waiting = "?" if each.waiting is None else f"{each.waiting:,}"
        since = format_time(each.parked_at) if each.parked_at else ""
        table.add_row(region, str(each.partition), waiting, f"{each.unannounced:,}", each.parked_reason or "no", since)
    show(table)
    for line in _sums(found):
        typer.echo(line)


def _sums(found: Sequence[tuple[Region, Standing]]) -> Iterator[str]:
    for region in dict.fromkeys(region for region, _standing in found):
        standings = [standing for each, standing in found if each is region]
        waiting = sum(each.waiting or 0 for each in standings)
        parked = sum(each.parked_reason is not None for each in standings)
        yield f"{region}: {waiting:,} records wait, {parked} of {len(standings)} partitions are parked"


def _members(region: Region, of: Standing) -> dict[str, object]:
    return {
        "region": region,
        "partition": of.partition,
        "waiting": of.waiting,
        "notAnnounced": of.unannounced,
        "parkedReason": of.parked_reason,
        "parkedAt": format_time(of.parked_at) if of.parked_at else None,
    }
