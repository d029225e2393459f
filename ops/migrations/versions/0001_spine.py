"""The spine: companies and keys, chains, events, and how far each source has come."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0001_spine"
down_revision = None


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
