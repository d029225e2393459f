"""Retention and the archive: which plan held when, what is archived where, and the one way to remove events."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0006_archive"
down_revision = "0005_webhooks"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
