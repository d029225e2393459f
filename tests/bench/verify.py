"""How fast ``hyrelog verify`` walks all chains. It also judges the run: a chain that is not intact fails the bench."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass

from ops.local.environment import inherited
from tests.bench import child
from tests.bench.bench import Bench
from tests.bench.meter import Cost
from tests.bench.pipeline import REGION

_TIMEOUT_SECONDS = 300
_VERDICT = re.compile(r": ([\d,]+) events .* in ([\d.]+) s .*: intact$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verified:
    """``seconds`` leave out the start of the process; its CPU time does not."""

    events: int
    seconds: float
    peak_bytes: int
    cost: Cost


async def verify(bench: Bench) -> Verified:
    """Walk everything that is stored. Raises ``ChildError`` when the auditor finds anything."""
    argv = [sys.executable, "-m", "ops", "verify", "--region", str(REGION)]
    environ = inherited() | {"HYRELOG_STATE": str(bench.stack.state.root)}
    spent = bench.meter.read()
    ended = await asyncio.to_thread(child.run, argv, _TIMEOUT_SECONDS, environ)
    cost = bench.meter.read().since(spent).with_process("verify", ended.cpu_seconds)
    found = _VERDICT.search(ended.output)
    if found is None:
        raise child.ChildError(f"hyrelog verify gave no verdict\n{ended.output}")
    return Verified(int(found[1].replace(",", "")), float(found[2]), ended.peak_bytes, cost)
