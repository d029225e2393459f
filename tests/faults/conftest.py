"""One cluster for all fault tests: starting one costs more than most of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from schemas.topics import Region
from tests.faults import load
from tests.faults.cluster import Cluster, running_cluster
from tests.faults.load import Account


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole_cluster() -> AsyncIterator[Cluster]:
    """Three workers, the gateway, the servers."""
    async with running_cluster(workers=3) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(whole_cluster: Cluster) -> AsyncIterator[Cluster]:
    """The cluster, whole before the test and made whole after it."""
    await whole_cluster.heal()
    yield whole_cluster
    await whole_cluster.heal()


@pytest.fixture
def writers(cluster: Cluster) -> list[Account]:
    """Workspaces of a new company in US, one for each partition."""
    return load.everywhere(cluster, Region.US)
