"""The jobs that run daily and weekly: when each is due, who has it, and how it went."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0007_jobs"
down_revision = "0006_archive"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
