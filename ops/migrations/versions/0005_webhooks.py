"""Webhooks: endpoints, what is due to them, every attempt, and the sink's own place in the events topic."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0005_webhooks"
down_revision = "0004_search"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
