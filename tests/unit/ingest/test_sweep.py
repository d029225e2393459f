"""Old claims go, in small statements."""

from __future__ import annotations

from ingest.sweep import Sweeper
from schemas.topics import Region

NOW, DAY = 1_770_000_000_000_000, 86_400_000_000


class Clock:
    """Stands still."""

    def micros(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Database:
    """The ages of claims."""

    def __init__(self, received: list[int]) -> None:
        self.received = received
        self.statements: list[int] = []

    async def sweep(self, before: int, limit: int) -> int:
        old = [each for each in self.received if each < before][:limit]
        for each in old:
            self.received.remove(each)
        self.statements.append(len(old))
        return len(old)


async def test_claims_older_than_a_day_are_swept_a_thousand_at_a_time() -> None:
    database = Database([NOW - DAY - 1] * 1500 + [NOW - DAY, NOW])
    await Sweeper(Region.EU, database, Clock()).sweep()
    assert database.received == [NOW - DAY, NOW]
    assert database.statements == [1000, 500]
