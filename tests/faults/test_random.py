"""Random faults of fixed seeds, in eleven lanes that overlap: three workers, two relays, four sinks, the gateway, the servers."""

from __future__ import annotations

import pytest

from tests.faults.campaign import Limits, run
from tests.faults.cluster import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("seed", [7])
async def test_nothing_is_lost_doubled_or_reordered(cluster: Cluster, seed: int) -> None:
    """Also that it goes on: all is persisted and announced within a minute of the last fault."""
    tally = await run(cluster, seed, Limits(faults=4))
    tally.verdict.assert_good()
    assert tally.faults.total() == 44
