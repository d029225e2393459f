"""The bench runs: every figure is taken, on sizes too small to mean anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from tests.bench.__main__ import measure
from tests.bench.bench import running
from tests.bench.compare import command
from tests.bench.compare.checkout import this_checkout
from tests.bench.compare.run import NAMES as COMPARED
from tests.bench.figures import FIGURES
from tests.bench.plan import Plan

NAMES = [name for name in FIGURES if not name.endswith("-stored") and name != "beside"]
"""Those are taken by the same code as the ones without, on fuller tables; and what is beside, by that of both sides."""
TINY = Plan(
    windows=1,
    idle_settle_seconds=1,
    idle_seconds=1,
    window_seconds=2,
    warm_up_seconds=1,
    echo_seconds=1,
    visible_seconds=1,
    query_seconds=1,
    backlog=20_000,
    backlog_of_indexes=8_000,
    stored=5_000,
    deliveries=1_000,
    due=1_000,
    delivered=10_000,
    archived=6_000,
    long_day=4_000,
    tails=40,
    crowd=60,
)


@pytest.mark.slow
@pytest.mark.timeout(600)  # a dozen figures, each with load of its own
async def test_every_kind_of_figure_can_be_taken() -> None:
    """A stack of its own: the first figure wants empty tables. Lost events and broken chains fail it too."""
    with running() as (stack, receiver_port):
        rows, _ = await measure(stack, TINY, NAMES, Console(quiet=True), receiver_port)
    rates = {row.figure: row.result for row in rows if row.result.endswith("/s")}
    assert len(rates) > len(NAMES)
    assert "0/s" not in rates.values()


@pytest.mark.slow
@pytest.mark.timeout(900)  # two stacks, each frozen and thawed a dozen times
def test_every_compared_figure_can_be_taken() -> None:
    """This tree against itself. Both stacks survive being frozen: nothing ends, and no event is lost."""
    other = replace(this_checkout(), name="other")
    names = set(COMPARED) - {"single"}  # taken by the code of whole-stack
    rows, facts = command.measure(this_checkout(), other, names, replace(TINY, windows=2), Console(quiet=True))
    assert {row.figure.split(":")[0] for row in rows} >= names
    assert all(row.verdict and row.spread for row in rows if row.ratio)
    assert not any("started again" in fact for fact in facts)
