"""``hyrelog unpark``: an operator's decision to let a parked partition go on, recorded in the same transaction.

A worker parks a partition when what comes next is not to be had: the log no longer holds it, the log
ends before it, or the topic was made anew. Going on never gives a position twice: the offset to go on
from is mapped onto the stored position, so positions and seqs rise without a gap. Events that
were stored before are recognised by their ids and commitments, and dropped as repeats.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ops import db, decisions
from ops.kafka import Bounds, LogView, Topic
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import Settings
from schemas.event import format_time
from schemas.topics import Region, ingest_topic


class NotParked(Exception):
    """Nothing was decided: the partition is not parked, or moved meanwhile, or the offset is not in its log."""


def register(app: typer.Typer) -> None:
    """Add the command ``unpark``."""
    app.command("unpark")(unpark)


def unpark(
    region: Annotated[Region, typer.Option(help="The partition's region.", case_sensitive=False)],
    partition: Annotated[int | None, typer.Option(help="Its number; without it, parked partitions are listed.")] = None,
    from_offset: Annotated[
        int | None, typer.Option(help="Kafka offset to go on from; by default none that may hold something new is passed over.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of the region's that are parked, each by default.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
) -> None:
    """List parked partitions, or let one go on, or all."""
    settings = settings_of(Settings, ambient_environ(Role.OWNER))
    if partition is None and not every:
        asyncio.run(_list(settings, region))
        return
    if every and (partition is not None or from_offset is not None):
        raise typer.BadParameter("goes with neither --partition nor --from-offset", param_hint="--all")
    if not reason.strip():
        raise typer.BadParameter("say why: it is recorded", param_hint="--reason")
    try:
        for each in asyncio.run(_parked(settings, region)) if partition is None else (partition,):
            typer.echo(asyncio.run(release(settings, region, each, from_offset, reason)))
    except NotParked as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(code=1) from None


async def release(settings: Settings, region: Region, partition: int, from_offset: int | None, reason: str) -> str:
    """Unpark a partition and record the decision; says what was done. Raises ``NotParked``, of which the audit is told too."""
    topic, bounds = await _look(settings, region, partition)
    target = {"id": f"{region}/{partition}", "type": "partition"}  # it concerns every company of the partition
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-unpark", region=region, max_size=1)
    try:
        async with pool.acquire() as connection:
            try:
                async with connection.transaction():
                    detail = await _release(connection, region, partition, topic, bounds, from_offset)
                    await decisions.record(connection, "UNPARK", "partition.unpark", target, detail | {"reason": reason}, region=region)
            except NotParked as error:
                await decisions.refuse(connection, "partition.unpark", target, str(error), region=region)
                raise
    finally:
        await pool.close()
    return f"{region} partition {partition} goes on at offset {detail['fromOffset']} (position {detail['position']})"


async def _release(
    connection: db.Connection, region: Region, partition: int, topic: Topic, bounds: Bounds, from_offset: int | None
) -> dict[str, Any]:
    """What was done, to be recorded in the same transaction. Raises ``NotParked``."""
    if from_offset is not None and not bounds.start <= from_offset <= bounds.end:
        raise NotParked(f"offset {from_offset} is not in the log, which holds {bounds.start} to {bounds.end}")
    name, sql = ingest_topic(region), db.load_queries("ops")
    rows = {row["partition"]: row for row in await connection.fetch(sql["list_sources"], name)}
    if partition not in rows or rows[partition]["parked_reason"] is None:
        raise NotParked(f"{region} partition {partition} is not parked")
    row = rows[partition]
    start = _start(row, topic, bounds) if from_offset is None else from_offset
    done = await connection.execute(sql["unpark"], name, partition, topic.id, row["next_offset"] - start, row["next_offset"])
    if done != "UPDATE 1":
        raise NotParked(f"{region} partition {partition} moved meanwhile: look again")
    return {
        "region": region.value,
        "partition": partition,
        "parkedReason": row["parked_reason"],
        "fromOffset": start,
        "logStart": bounds.start,
        "logEnd": bounds.end,
        "position": row["next_offset"],
    }


def _start(row: db.Row, topic: Topic, bounds: Bounds) -> int:
    """Where to go on by default, so that no accepted record is passed over: where it stood, or all that the log holds.

    All, of another topic, and of one that lost its end: what was written since then has offsets that look persisted.
    """
    stood: int = row["next_offset"] - row["offset_base"]
    if row["topic_id"] != topic.id or stood > bounds.end:
        return bounds.start
    return max(stood, bounds.start)


async def _look(settings: Settings, region: Region, partition: int) -> tuple[Topic, Bounds]:
    view = LogView(settings, region)
    await view.start()
    try:
        topic = (await view.topics())[ingest_topic(region)]
        return topic, (await view.bounds(ingest_topic(region), [partition]))[partition]
    finally:
        await view.stop()


async def _sources(settings: Settings, region: Region) -> list[db.Row]:
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-unpark", region=region, max_size=1)
    async with pool:
        return await pool.fetch(db.load_queries("ops")["list_sources"], ingest_topic(region))


async def _parked(settings: Settings, region: Region) -> list[int]:
    return [row["partition"] for row in await _sources(settings, region) if row["parked_reason"] is not None]


async def _list(settings: Settings, region: Region) -> None:
    rows = await _sources(settings, region)
    table = Table("partition", "position", "parked", "since")
    for row in rows:
        since = format_time(row["parked_at"]) if row["parked_at"] else ""
        table.add_row(str(row["partition"]), str(row["next_offset"]), row["parked_reason"] or "no", since)
    Console().print(table)
