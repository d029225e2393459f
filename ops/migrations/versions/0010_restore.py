"""Restore requests: who asked for which cold archive, who decided, and how far it is."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0010_restore"
down_revision = "0009_dashboard"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
