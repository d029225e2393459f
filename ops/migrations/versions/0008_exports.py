"""Exports: what was asked for, which events belong to it, and how its download ended."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0008_exports"
down_revision = "0007_jobs"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
