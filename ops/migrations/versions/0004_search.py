"""The search table, filled by a sink of the events topic, and what finds candidates in it."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0004_search"
down_revision = "0003_idempotency"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
