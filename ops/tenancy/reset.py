"""A demo's region as on its first day. Events are append-only, so nothing is emptied: the schema and the topics are made anew."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from ops import audit
from ops.clock import SystemClock
from ops.db import load_queries
from ops.kafka import delete_topics, ensure_topics
from ops.migrate import remake
from ops.settings import Settings
from ops.tenancy.registry import Refused
from schemas.audit import Outcome
from schemas.topics import Region


def reset(settings: Settings, region: Region) -> None:
    """Delete all tenants, keys and events of the region, in PostgreSQL and in Kafka. The settings are the database owner's.

    Raises ``Refused`` when the database is not marked as a demo's, or anybody else is connected to it; its audit is told of that.
    """
    url = settings.database_url(region)
    _check(url, region)
    # Topics first: should this end half-way, workers find others than those they know, and park.
    asyncio.run(delete_topics(settings, region))
    remake(url, region)
    asyncio.run(ensure_topics(settings.model_copy(update={"regions": (region,)})))


def _check(url: str, region: Region) -> None:
    queries = load_queries("ops.tenancy")

    def one(query: str) -> tuple[Any, ...]:
        return connection.execute(queries[query].encode()).fetchone() or ()

    with psycopg.connect(url) as connection:
        found = one("database") if one("is_made") == (True,) else ()
        (others,) = one("others")
        if found != (region.value, True):
            refusal = f"the database set for {region} is not marked as a demo's of that region: nothing was deleted"
        elif others:
            refusal = f"stop the services of {region} first, nothing was deleted; connected are {others}"
        else:
            return
        if found[:1] == (region.value,):
            entry = audit.by_operator("region.reset", {"type": "region", "id": region.value}, {"reason": refusal}, Outcome.DENIED)
            audit.write_sync(connection, entry, region=region, company_id=None, now=SystemClock().micros())
    raise Refused(refusal)
