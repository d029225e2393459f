"""What every figure needs: the running stack, a company that posts, and what watches and counts."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from rich.console import Console

from ops.local.environment import Role
from ops.local.ports import pick
from ops.seed import Tenant
from tests.bench.load import Generator, generator
from tests.bench.meter import Meter
from tests.bench.pipeline import REGION, NotDrained, Pipeline, watching
from tests.bench.plan import Plan
from tests.bench.workload import WORKSPACES
from tests.support.endpoints import bound_tenant
from tests.support.stack import LocalStack, running_stack

WORKER = "worker-1"


@dataclass(frozen=True, slots=True)
class Bench:
    """One run on one stack."""

    stack: LocalStack
    plan: Plan
    tenant: Tenant
    pipeline: Pipeline
    meter: Meter
    generator: Generator
    console: Console
    receiver_port: int
    """Where webhooks may lead."""

    @property
    def port(self) -> int:
        """Where the gateway listens."""
        return self.stack.state.port("gateway")

    def say(self, text: str) -> None:
        """Tell who waits what goes on."""
        self.console.print(text, highlight=False)


@contextmanager
def running() -> Iterator[tuple[LocalStack, int]]:
    """A fresh stack that can hold thousands of tails, and the port of this machine that its webhooks may lead to."""
    port, before = pick(), os.environ.get("EGRESS_ALLOW")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # ours, and so that of all we start: each tail is a file
    os.environ["EGRESS_ALLOW"] = f"127.0.0.1/32:{port}"  # the stack hands it on
    try:
        with running_stack() as stack:
            yield stack, port
    finally:
        del os.environ["EGRESS_ALLOW"]
        os.environ.update({} if before is None else {"EGRESS_ALLOW": before})


@asynccontextmanager
async def opened(stack: LocalStack, plan: Plan, console: Console, receiver_port: int) -> AsyncIterator[Bench]:
    """A bench on a fresh stack, with a new company, whose webhooks may lead to that port. Raises as ``observed``."""
    tenant = bound_tenant(stack.settings(Role.ADMIN), REGION, "Bench", workspaces=WORKSPACES)
    async with observed(stack, tenant, plan, console, receiver_port) as bench:
        yield bench


@asynccontextmanager
async def observed(stack: LocalStack, tenant: Tenant, plan: Plan, console: Console, receiver_port: int) -> AsyncIterator[Bench]:
    """A bench that posts as that company. A ``NotDrained`` is raised with the end of the worker's log as a note."""
    async with watching(stack.settings(Role.AUDITOR)) as pipeline:
        try:
            yield Bench(stack, plan, tenant, pipeline, Meter(stack.parts), generator(), console, receiver_port)
        except NotDrained as error:
            error.add_note(f"The worker's last lines:\n{stack.parts.runners[WORKER].last_lines()}")
            raise
