"""What waits for clients is bounded in bytes: of a send, of a channel before it begins, and of all channels together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.tail import frames
from api.tail.channel import Channel, Wanted
from api.tail.frames import Told, joined
from api.tail.logs import Logs
from api.tail.matching import Matches
from api.tail.position import Audience, Positions
from api.tail.progress import Progress
from schemas.topics import Region
from tests.support.chains import Chain

COMPANY, WORKSPACE = "0190a000-0000-7000-8000-00000000000c", "0190a000-0000-7000-8000-00000000000a"
POSITIONS = Positions((b"s" * 32,))
LARGE = 100_000


def channel(logs: Logs, audience: Audience) -> Channel:
    made = Channel(Wanted(audience, (), Matches()), logs)
    logs.add(made)
    return made


def large(count: int) -> list[Told]:
    chain = Chain(COMPANY, WORKSPACE, Region.US)
    return [Told(chain.event(metadata=b'{"text":"%b"}' % (b"x" * LARGE)), 0) for _ in range(count)]


@given(st.lists(st.binary(max_size=frames.MOST_BYTES * 2), max_size=9), st.integers(0, 200))
def test_pieces_hold_all_and_none_more_than_one_send_may(told: list[bytes], small: int) -> None:
    told += [b"y"] * small
    pieces = list(joined(told))
    assert b"".join(pieces) == b"".join(told)
    for piece in pieces:
        assert len(piece) <= frames.MOST_BYTES or piece in told


def test_a_send_along_a_channel_is_bounded_too() -> None:
    ours = channel(Logs(POSITIONS, 100, 1 << 30), Audience(COMPANY, None))
    ours.join(ours.mark(), Progress(Audience(COMPANY, None)))
    for each in large(8):
        ours.take(each)
    count, events, told = ours.frames(0)
    assert count == events == 2
    assert len(told) <= frames.MOST_BYTES


def test_a_channel_that_has_not_begun_counts_what_it_holds() -> None:
    ours = channel(Logs(POSITIONS, 1000, 1 << 30), Audience(COMPANY, None))
    for each in large(200):
        ours.take(each)
    assert ours.bytes_held <= 16 << 20
    assert ours.start > 0


def test_all_together_hold_no_more_than_they_may_and_the_largest_forgets_first() -> None:
    logs = Logs(POSITIONS, 100, 20 * LARGE)
    small, big = (channel(logs, Audience(COMPANY, workspace)) for workspace in (WORKSPACE, None))
    for each in large(2):
        small.take(each)
    for each in large(50):
        big.take(each)
        assert logs.held == small.bytes_held + big.bytes_held <= logs.most
    assert small.start == 0
    assert big.start > 0
    logs.drop(big)
    assert logs.held == small.bytes_held
