"""What the servers of a stack need before our own processes start: databases, roles, topics, buckets."""

from __future__ import annotations

from ops.local.environment import Role, service_settings
from ops.local.postgres import create_databases, create_logins
from ops.local.state import State
from ops.prepare import prepare


def provision(state: State) -> None:
    """Make what is missing; what is there stays as it is."""
    create_databases(state)
    prepare(service_settings(state, Role.OWNER), is_demo=True)
    create_logins(state)
