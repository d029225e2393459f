"""How the events table should be partitioned, indexed and cut into columns: the measurement behind ADR 2.

``python -m tests.bench.events_table --rows 10000000 --variants plain day hash16`` starts a PostgreSQL of its own
in a temporary directory, fills one database per variant as the chain worker does (one connection, binary COPY,
heads and source row in the same transaction), reads, purges, and prints one Markdown table. A row takes 1.5 kB
with its indexes: 10,000,000 of them and the WAL need 25 GB of free disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg

from tests.bench.events_table.layout import VARIANTS, Variant, ddl
from tests.bench.events_table.reads import read
from tests.bench.events_table.report import render
from tests.bench.events_table.rows import CHUNK, Rows
from tests.bench.events_table.server import server
from tests.bench.events_table.writes import client_micros, purge, write

WARM_UP_ROWS = 1_000_000
STRETCHES = 10

SIZES = """
SELECT sum(pg_table_size(oid))::float8 / $1 AS "table B/row", sum(pg_indexes_size(oid))::float8 / $1 AS "index B/row",
  (SELECT avg(pg_column_size(e.*))::float8 FROM (SELECT * FROM events LIMIT 1000) e) AS "tuple B"
FROM pg_class WHERE relkind = 'r' AND relname LIKE 'events%'
"""


async def measure(socket_dir: Path, variant: Variant, total: int, *, writes_only: bool) -> dict[str, Any]:
    """One variant in a database of its own, which is dropped at the end."""
    admin = await asyncpg.connect(host=str(socket_dir), user="postgres", database="postgres")
    await admin.execute("CREATE DATABASE bench")
    db, other = [await asyncpg.connect(host=str(socket_dir), user="postgres", database="bench") for _ in range(2)]
    try:
        for statement in ddl(variant):
            await db.execute(statement)
        await admin.execute("CHECKPOINT")
        return await _fill_and_use(db, other, Rows(variant, total), writes_only=writes_only)
    finally:
        await db.close()
        await other.close()
        await admin.execute("DROP DATABASE bench")
        await admin.close()


async def _fill_and_use(db: asyncpg.Connection[Any], other: asyncpg.Connection[Any], rows: Rows, *, writes_only: bool) -> dict[str, Any]:
    rates = [await write(db, rows, rows.total // CHUNK // STRETCHES) for _ in range(STRETCHES)]
    result: dict[str, Any] = {"variant": rows.variant.name, "rows": rows.total, "rates": [vars(rate) for rate in rates]}
    result |= dict(await db.fetchrow(SIZES, rows.total) or {})
    result["asyncpg µs/row"] = await client_micros(db, rows)
    if not writes_only:
        await db.execute("VACUUM (ANALYZE) events")
        result |= await read(db, rows)
        result |= await purge(db, other, rows)
    return result


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["plain", "day", "hash16"])
    parser.add_argument("--writes-only", action="store_true", help="no reads, no purge")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="server settings to try")
    parser.add_argument("--json", type=Path, help="append one JSON line a variant to this file")
    return parser.parse_args()


def main() -> None:
    chosen, results = options(), []
    with server(dict(pair.split("=", 1) for pair in chosen.set)) as socket_dir:
        # The first rows of a new server also pay for its WAL files and its shared memory.
        asyncio.run(measure(socket_dir, VARIANTS["plain"], WARM_UP_ROWS, writes_only=True))
        for name in chosen.variants:
            results.append(asyncio.run(measure(socket_dir, VARIANTS[name], chosen.rows, writes_only=chosen.writes_only)))
            if chosen.json:
                with chosen.json.open("a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
            print(render(results), flush=True)


if __name__ == "__main__":
    main()
