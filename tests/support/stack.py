"""The stack that integration tests run on: embedded, or its servers from testcontainers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg

from ops.local.environment import Role, database_name, database_url, service_settings
from ops.local.provision import provision
from ops.local.stack import SERVERS, Stack
from ops.local.state import State
from ops.seed import Tenant, create
from ops.settings import Settings
from ops.tenancy.registry import Registry
from ops.tenancy.terms import random_entropy
from schemas.plans import PlanName
from schemas.topics import Region
from tests.support import cluster_template
from tests.support.containers import servers_in_containers

UNLIMITED: Mapping[str, Any] = MappingProxyType({"requestsPerMinute": None, "eventsPerMinute": None})
"""Overrides of a company whose test is not about rate limits."""


class LocalStack:
    """A whole running stack, apart from any demo on the same machine. ``parts`` starts and kills single parts."""

    def __init__(self, parts: Stack) -> None:
        self.parts = parts
        self.state = parts.state
        self._tenants = 0

    @property
    def base_url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.state.port('gateway')}"

    @property
    def kafka_bootstrap(self) -> str:
        """host:port of the broker."""
        return f"127.0.0.1:{self.state.port('kafka')}"

    @property
    def internal_token(self) -> str:
        """For the header ``x-internal-token``."""
        return self.state.secret("internal_token")

    @property
    def dashboard_token(self) -> str:
        """For the header ``x-dashboard-token``; good on the operator's routes too."""
        return self.state.secret("dashboard_service_token")

    def visitor(self, role: str, company: Tenant) -> dict[str, str]:
        """The headers of a user of the dashboard in that role, who acts for that company."""
        names = {"x-user-id": f"usr-{role.lower()}", "x-user-email": f"{role.lower()}@dashboard.example", "x-user-role": role}
        return {"x-dashboard-token": self.dashboard_token, "x-company-id": str(company.id), **names}

    def settings(self, role: Role) -> Settings:
        """What a process of the stack has in that role."""
        return service_settings(self.state, role)

    def superuser_url(self, region: Region = Region.US) -> str:
        """A connection that may do anything: for tampering, and for looking."""
        return database_url(self.state, Role.SUPERUSER, database_name(region))

    def tenant(
        self, region: Region = Region.US, *, plan: PlanName = "GROWTH", workspaces: int = 1, overrides: Mapping[str, Any] = UNLIMITED
    ) -> Tenant:
        """A new company with keys, so that no test sees another one's events."""
        self._tenants += 1
        name = f"Test company {self._tenants}"
        return create_tenant(self.settings(Role.ADMIN), region, name, plan=plan, workspaces=workspaces, overrides=overrides)


def create_tenant(
    settings: Settings,
    region: Region,
    name: str,
    *,
    plan: PlanName = "GROWTH",
    workspaces: int = 1,
    overrides: Mapping[str, Any] = UNLIMITED,
) -> Tenant:
    """A new company with workspaces named ``Workspace 1`` and so on. No audit tells of it: a test's events are all there are."""
    secret = settings.secrets("api_key_secret")[0]
    names = tuple(f"Workspace {number}" for number in range(1, workspaces + 1))
    with psycopg.connect(settings.database_url(region), cursor_factory=psycopg.RawCursor) as connection:
        registry = Registry(connection, region, secret, entropy=random_entropy, record=lambda _entry, _company: None)
        return create(registry, name, plan, names, overrides)


@contextmanager
def running_stack(*, workers: int = 1, only: tuple[str, ...] = (), migrated: bool = True) -> Iterator[LocalStack]:
    """Start a stack in a directory of its own, on free ports, unsupervised; delete it at the end.

    Its databases are a copy of the template, or with ``migrated=False`` made by the stack itself.
    ``HYRELOG_TEST_BACKEND=testcontainers`` takes Kafka, PostgreSQL and the S3 store from Docker instead.
    """
    # Not pytest's tmp_path: PostgreSQL, run as another user when we are root, must be able to get there.
    with tempfile.TemporaryDirectory(prefix="hyrelog-test-", ignore_cleanup_errors=True) as directory:
        state = State(Path(directory), fixed_ports=False)
        stack = Stack(state, workers=workers, supervise=False)
        with ExitStack() as servers:
            servers.callback(stack.destroy)
            _bring_up(stack, only, servers, migrated=migrated)
            yield LocalStack(stack)


def _bring_up(stack: Stack, only: tuple[str, ...], servers: ExitStack, *, migrated: bool) -> None:
    if os.environ.get("HYRELOG_TEST_BACKEND") != "testcontainers":
        if migrated:
            cluster_template.copy_into(stack.state)
        stack.up(only)
        return
    containers: AbstractContextManager[object] = servers_in_containers(stack.state)
    servers.enter_context(containers)
    provision(stack.state)
    stack.up([name for name in stack.runners if name not in SERVERS and (not only or name in only)])
