"""The layouts that are compared: columns, indexes and partitions of the events table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SOURCE_PARTITIONS = 8
FIRST_DAY = 9_800  # days since 2000-01-01, the unit of a binary date
DAYS = 30  # ten of the run, the rest for what is written during the purge

GROUPS = ("actor", "resource", "context", "metadata")
# The columns that differ from row to row come first: one pack_into rewrites them all.
KEYS = (
    "seq bigint", "source_offset bigint", "occurred_at timestamptz", "received_at timestamptz", "id uuid", "workspace_id uuid",
    "source_partition integer", "archive_day date",
)  # fmt: skip
FIXED = ("company_id uuid", "project_id uuid", "trace_id uuid", "source_index integer", "prev_hash bytea", "hash bytea")
TEXTS = {
    "category": b"user",
    "action": b"user.session.login",
    "outcome": b"SUCCESS",
    "tenant_id": b"customer-48213",
    "actor_id": b"usr_2f9c81d0",
    "actor_email": b"maria.lindqvist@example.com",
    "resource_type": b"session",
    "resource_id": b"ses_81f0c2d94a",
}


@dataclass(frozen=True)
class Variant:
    """One way to lay the table out. ``split`` gives every commitment and every salt a column of its own."""

    name: str
    partition_by: str = ""  # "", "day" (of received_at) or "hash" (of workspace_id)
    hash_parts: int = 0
    empty_days: int = 0  # daily partitions without rows, before those with rows
    without: frozenset[str] = frozenset()  # indexes left out: id, source, time
    brin_source: bool = False
    split: bool = False
    storage: str = ""

    @property
    def unique_suffix(self) -> str:
        """A unique key of a partitioned table must hold the partition column."""
        return {"": "", "day": ", received_at", "hash": ", workspace_id"}[self.partition_by]


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("plain"),
        Variant("day", "day"),
        Variant("day365", "day", empty_days=355),
        Variant("hash4", "hash", 4),
        Variant("hash16", "hash", 16),
        Variant("hash64", "hash", 64),
        Variant("plain-no-id", without=frozenset({"id"})),
        Variant("plain-no-source", without=frozenset({"source"})),
        Variant("plain-brin-source", brin_source=True),
        Variant("plain-no-time", without=frozenset({"time"})),
        Variant("plain-pk-only", without=frozenset({"id", "source", "time"})),
        Variant("plain-split", split=True),
        Variant("plain-external", storage="EXTERNAL"),
        Variant("plain-main", storage="MAIN"),
    )
}


def preimages(variant: Variant) -> dict[str, int]:
    """The columns of commitments, salts and canonical groups, with their lengths in bytes."""
    if not variant.split:
        return {"commitments": 128, **dict.fromkeys(GROUPS, 166)}
    return {f"{group}_{part}": size for group in GROUPS for part, size in (("commitment", 32), ("salt", 16), ("value", 150))}


def columns(variant: Variant) -> list[str]:
    """Column definitions in the order in which they are copied."""
    texts = [f"{name} text" for name in TEXTS]
    return [*KEYS, *FIXED, *(f"{name} bytea" for name in preimages(variant)), *texts, "erased_at timestamptz"]


def ddl(variant: Variant) -> Iterator[str]:
    """The statements that make the variant's tables, and those that a transaction of the chain worker also writes."""
    key = "workspace_id, seq" + (variant.unique_suffix if variant.partition_by == "day" else "")
    clause = {"": "", "day": " PARTITION BY RANGE (received_at)", "hash": " PARTITION BY HASH (workspace_id)"}[variant.partition_by]
    yield f"CREATE TABLE events ({', '.join(columns(variant))}, PRIMARY KEY ({key})){clause}"
    yield from _partitions(variant)
    yield from _indexes(variant)
    if variant.storage:
        for name in (*preimages(variant), *TEXTS):
            yield f"ALTER TABLE events ALTER COLUMN {name} SET STORAGE {variant.storage}"
    yield "CREATE TABLE chain_head (workspace_id uuid PRIMARY KEY, seq bigint, hash bytea, updated_at timestamptz) WITH (fillfactor = 50)"
    yield "CREATE TABLE source (partition integer PRIMARY KEY, next_offset bigint, announced bigint) WITH (fillfactor = 50)"
    yield f"INSERT INTO source SELECT p, 0, 0 FROM generate_series(0, {SOURCE_PARTITIONS - 1}) p"


def _partitions(variant: Variant) -> Iterator[str]:
    for part in range(variant.hash_parts):
        yield f"CREATE TABLE events_{part} PARTITION OF events FOR VALUES WITH (MODULUS {variant.hash_parts}, REMAINDER {part})"
    if variant.partition_by == "day":
        for day in range(-variant.empty_days, DAYS):
            low, high = (f"date '2000-01-01' + {FIRST_DAY + day + n}" for n in (0, 1))
            yield f"CREATE TABLE events_d{day + variant.empty_days} PARTITION OF events FOR VALUES FROM ({low}) TO ({high})"


def _indexes(variant: Variant) -> Iterator[str]:
    suffix = variant.unique_suffix
    if variant.brin_source:
        yield "CREATE INDEX events_source ON events USING brin (source_partition, source_offset) WITH (autosummarize = on)"
    elif "source" not in variant.without:
        yield f"CREATE UNIQUE INDEX events_source ON events (source_partition, source_offset, source_index{suffix})"
    if "id" not in variant.without:
        yield f"CREATE UNIQUE INDEX events_id ON events (id{suffix})"
    if "time" not in variant.without:
        yield "CREATE INDEX events_time ON events (workspace_id, occurred_at, seq)"
