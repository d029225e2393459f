"""Keys of open tails: what ends with a key, and what outlives its database."""

from __future__ import annotations

from dataclasses import replace

from api.tail.watch import Holder, KeyWatch
from ops.addresses import network
from ops.store import KeyRow
from schemas.plans import PlanLimits
from schemas.topics import Region
from tests.support.keys import FakeClock

LIMITS = PlanLimits(7, None, None, None, (), 0, True, (), None, None)
ROW = KeyRow("k", "c", None, None, LIMITS)
HOLDER = Holder("k", "203.0.113.5", (b"hash",))
OUTLIVES = 15 * 60


class Keys:
    """A database with at most one key."""

    def __init__(self, row: KeyRow | None) -> None:
        self.row = row
        self.is_away = False
        self.asked = 0

    async def find_all(self, region: Region, hashes: list[bytes]) -> list[KeyRow]:
        self.asked += 1
        if self.is_away:
            raise ConnectionError
        return [self.row] if self.row and b"hash" in hashes else []


def watch(keys: Keys) -> tuple[KeyWatch, FakeClock]:
    clock = FakeClock()
    return KeyWatch(Region.EU, keys, clock), clock


async def test_a_good_key_goes_on() -> None:
    keys = Keys(ROW)
    watching, clock = watch(keys)
    assert await watching.spent([HOLDER]) == set()
    keys.row = replace(ROW, expires_at=clock.micros() + 1, allowlist=(network("203.0.113.0/24"),))
    assert await watching.spent([HOLDER]) == set()


async def test_a_key_that_is_gone_revoked_expired_or_bound_elsewhere_is_spent() -> None:
    keys = Keys(None)
    watching, clock = watch(keys)
    for row in (
        None,
        replace(ROW, revoked=True),
        replace(ROW, expires_at=clock.micros()),
        replace(ROW, allowlist=(network("198.51.100.0/24"),)),
    ):
        keys.row = row
        assert await watching.spent([HOLDER]) == {HOLDER}


async def test_a_known_key_outlives_its_database_for_15_minutes() -> None:
    keys = Keys(ROW)
    watching, clock = watch(keys)
    await watching.spent([HOLDER])
    keys.is_away = True
    clock.now += OUTLIVES
    assert await watching.spent([HOLDER]) == set()
    clock.now += 1
    assert await watching.spent([HOLDER]) == {HOLDER}


async def test_its_expiry_holds_meanwhile() -> None:
    keys = Keys(None)
    watching, clock = watch(keys)
    keys.row = replace(ROW, expires_at=clock.micros() + 60_000_000)
    await watching.spent([HOLDER])
    keys.is_away = True
    clock.now += 61
    assert await watching.spent([HOLDER]) == {HOLDER}


async def test_while_nobody_listens_nothing_is_asked_and_no_time_runs_out() -> None:
    keys = Keys(ROW)
    watching, clock = watch(keys)
    clock.now += OUTLIVES * 2
    assert await watching.spent([]) == set()
    keys.is_away = True
    assert await watching.spent([HOLDER]) == set()
    assert keys.asked == 1
