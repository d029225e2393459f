"""Alembic's entry: runs the ladder on the connection that ``ops.migrate`` hands over, a transaction for each step."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
