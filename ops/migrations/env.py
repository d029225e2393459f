"""Alembic's entry: runs the ladder on the connection that ``ops.migrate`` hands over, a transaction for each step."""

from __future__ import annotations

from alembic import context

given = context.config.attributes
context.configure(connection=given["connection"], transaction_per_migration=True, on_version_apply=given["tell"])
with context.begin_transaction():
    context.run_migrations()
