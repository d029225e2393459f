"""One whole stack for the tests that stop, kill or replace its processes. Each module finds it complete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import LocalStack, running_stack


@pytest.fixture(scope="package")
def damaged_stack() -> Iterator[LocalStack]:
    """Start everything, as whatever module comes next."""
    with running_stack() as running:
        yield running


@pytest.fixture(scope="module")
def stack(damaged_stack: LocalStack) -> LocalStack:
    """Start again what the module before has left stopped."""
    damaged_stack.parts.up()
    return damaged_stack
