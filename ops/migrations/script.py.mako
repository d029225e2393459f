"""${message}."""

from __future__ import annotations

from ops.migrate import run_sql

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
