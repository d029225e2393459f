"""Keys without a database: a key table, a clock that moves when told, and what plans allow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ops.store import KeyRow
from schemas.keys import Scope, hash_key, make_key
from schemas.plans import PlanLimits
from schemas.topics import Region

SECRET, PREVIOUS = b"s" * 32, b"p" * 32
COMPANY, WORKSPACE = "0190a000-0000-7000-8000-00000000000c", "0190a000-0000-7000-8000-00000000000a"
KEY = make_key(Region.EU, Scope.WORKSPACE, bytes(range(24)))
HEADER = b"Bearer " + KEY.encode()
ADDRESS = "192.0.2.1"
NO_LIMITS = PlanLimits(90, 365, None, None, ("HOT",), 3, True, (), None, None)


def header(number: int) -> bytes:
    """The header of a key that is nobody's, unless it is added."""
    return b"Bearer " + make_key(Region.EU, Scope.WORKSPACE, number.to_bytes(24)).encode()


def per_minute(requests: int | None = None, events: int | None = None, **members: Any) -> PlanLimits:
    """The limits of a plan that limits nothing else."""
    return replace(NO_LIMITS, requests_per_minute=requests, events_per_minute=events, **members)


class FakeClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def micros(self) -> int:
        return int(self.now * 1e6)

    def monotonic(self) -> float:
        return self.now


class FakeKeys:
    """A key table per region, that can be away or hang, and counts look-ups."""

    def __init__(self, *regions: Region) -> None:
        self.regions = regions or (Region.EU,)
        self.rows: dict[tuple[Region, bytes], KeyRow] = {}
        self.failing: dict[Region, Callable[[], Exception]] = {}
        self.asked: list[Region] = []
        self.used: list[dict[str, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, region: Region, hashes: list[bytes]) -> KeyRow | None:
        self.asked.append(region)
        await self.gate.wait()
        if region in self.failing:
            error = self.failing[region]()
            raise error
        return next((self.rows[region, key] for key in hashes if (region, key) in self.rows), None)

    async def note_use(self, region: Region, used: Mapping[str, int]) -> None:
        if region in self.failing:
            error = self.failing[region]()
            raise error
        self.used.append(dict(used))

    def add(self, key: str = KEY, *, region: Region = Region.EU, secret: bytes = SECRET, **columns: Any) -> None:
        """A key's row; ``columns`` replace those of a key that may do anything, from anywhere, for ever."""
        workspace = WORKSPACE if "_ws_" in key else None
        row = KeyRow("key-1", COMPANY, workspace, None, NO_LIMITS)
        self.rows[region, hash_key(secret, key)] = replace(row, **columns)
