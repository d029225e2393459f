"""What ingest adds to an event by itself: randomness."""

from __future__ import annotations

from ingest.accept import RandomPool


def test_no_randomness_is_given_out_twice() -> None:
    """A salt that came twice would tell that two groups are equal."""
    pool = RandomPool()
    taken = [pool.take(size) for size in (74, 1, 8192, 74) * 200]
    assert [len(each) for each in taken] == [74, 1, 8192, 74] * 200
    salts = [each for each in taken if len(each) > 1]
    assert len(set(salts)) == len(salts)
    joined = b"".join(salts)
    windows = {joined[start : start + 16] for start in range(0, len(joined) - 16, 16)}
    assert len(windows) == len(range(0, len(joined) - 16, 16))
