"""What housekeeping concludes from a stored position and what the brokers say of the log."""

from uuid import UUID

import pytest

from ops.kafka import Bounds, Topic
from ops.progress import Progress
from streams.standing import contradiction
from streams.store import Source

TOPIC = Topic(UUID(int=1), 8)


def source(next_offset: int, *, base: int = 0, topic: UUID = TOPIC.id) -> Source:
    return Source(topic, base, next_offset, next_offset, None)


@pytest.mark.parametrize(
    ("stored", "bounds", "reason"),
    [
        (source(0), Bounds(0, 0), None),
        (source(5), Bounds(0, 5), None),
        (source(5), Bounds(5, 9), None),
        (source(5), Bounds(6, 9), "LOG_TRUNCATED"),
        (source(5), Bounds(0, 4), "LOG_BEHIND"),
        (source(5, topic=UUID(int=2)), Bounds(0, 9), "TOPIC_RECREATED"),
        (source(105, base=100), Bounds(0, 5), None),
        (source(105, base=100), Bounds(0, 4), "LOG_BEHIND"),
        (source(5, base=-10), Bounds(15, 20), None),
    ],
)
def test_a_partition_goes_on_only_where_its_log_holds_what_comes_next(stored: Source, bounds: Bounds, reason: str | None) -> None:
    """Anything else would skip accepted events in silence."""
    found = contradiction(stored, TOPIC, bounds)
    assert (found or "").partition(":")[0] == (reason or "")


def test_lag_is_the_age_of_the_oldest_record_not_yet_persisted() -> None:
    """Not the time since the last progress: a worker that crawls is behind, too."""
    progress = Progress()
    assert progress.lag(end=0, position=0, now=100.0) == 0
    assert progress.lag(end=10, position=0, now=101.0) == 0
    assert progress.lag(end=20, position=0, now=103.0) == 2
    assert progress.lag(end=20, position=10, now=104.0) == 1
    assert progress.lag(end=20, position=20, now=105.0) == 0


def test_a_partition_with_work_that_does_not_move_is_stalled() -> None:
    """A dead fetcher can leave a live process."""
    progress = Progress()
    progress.lag(end=10, position=5, now=100.0)
    progress.lag(end=12, position=5, now=130.0)
    assert progress.stalled(end=12, position=5, now=130.0) == 30
    assert progress.stalled(end=5, position=5, now=130.0) == 0
    progress.lag(end=12, position=6, now=131.0)
    assert progress.stalled(end=12, position=6, now=140.0) == 9
