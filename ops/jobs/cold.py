"""``cold-archive-marker``: which parts the bucket's lifecycle has moved to cold storage by now, so that nobody tries to read them.

The rules of the bucket (``hyrelog lifecycle``) move an object by its own age, which is what is looked at here.
"""

from __future__ import annotations

from ops.db import load_queries
from ops.jobs.patience import patiently
from ops.jobs.work import Work


async def run(work: Work) -> dict[str, int]:
    """Mark what is cold; how many parts that were."""
    query, now = load_queries("ops.jobs", "cold.sql")["mark_cold"], work.clock.micros()
    return {"parts": await patiently(lambda: work.pool.fetchval(query, now))}
