"""Idempotency: claims by ingest, keys and aliases settled by the chain worker."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0003_idempotency"
down_revision = "0002_tenants"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
