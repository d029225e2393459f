"""The dashboard: what a company's people and the operator's do about tenants over HTTP."""

from __future__ import annotations

from ops.migrate import run_sql

revision = "0009_dashboard"
down_revision = "0008_exports"


def upgrade() -> None:
    """Run the SQL file of the same name."""
    run_sql(__file__)
