"""One whole stack for all tests that only use it. What stops or kills a process belongs in ``tests/e2e/recovery``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.collector import Collector, collecting
from tests.support.stack import LocalStack, running_stack


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Take the spans of the stack."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="package")
def stack(collector: Collector) -> Iterator[LocalStack]:
    """Start everything: servers, gateway, one of each process. It exports its traces; a restored archive takes a second."""
    with pytest.MonkeyPatch.context() as patch:  # other stacks are not to inherit it
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("RESTORE_SIMULATED_SECONDS", "1")
        running = running_stack()
        with running as whole:
            yield whole
