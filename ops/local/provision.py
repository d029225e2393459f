"""What the servers of a stack need before our own processes start: databases, roles, topics, buckets."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ops.kafka import ensure_topics
from ops.local.environment import Role, database_name, database_url, service_settings
from ops.local.postgres import create_databases, create_logins
from ops.local.state import State
from ops.migrate import migrate
from ops.objects import ensure_buckets
from schemas.topics import REGIONS


def provision(state: State) -> None:
    """Make what is missing; what is there stays as it is."""
    settings = service_settings(state, Role.OWNER)
    with ThreadPoolExecutor() as pool:
        steps = [
            pool.submit(_databases, state),
            pool.submit(asyncio.run, ensure_topics(settings)),
            pool.submit(ensure_buckets, settings),
        ]
        for step in steps:
            step.result()


def _databases(state: State) -> None:
    create_databases(state)
    for region in REGIONS:
        migrate(database_url(state, Role.OWNER, database_name(region)), region, is_demo=True)
    create_logins(state)
