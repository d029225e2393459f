"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import LocalStack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """Everything up: servers, gateway, one worker. Made at first use, shared, deleted at the end."""
    with running_stack() as running:
        yield running
