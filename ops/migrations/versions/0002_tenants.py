"""Tenants: plans, archiving, allowlists and rotation of keys, the audit outbox, and row-level security under it all."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0002_tenants"
down_revision = "0001_spine"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
