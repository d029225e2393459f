"""A channel tells everything that its readers have not seen, once; or it is over."""

from __future__ import annotations

from api.tail.channel import NOWHERE, Channel, Entry, Wanted
from api.tail.frames import Told
from api.tail.logs import Logs
from api.tail.matching import Matches
from api.tail.position import Audience, Positions
from api.tail.progress import Progress
from schemas.event import StoredEvent
from schemas.topics import Region
from tests.support.chains import Chain

COMPANY = "0190a000-0000-7000-8000-00000000000c"
AUDIENCE = Audience(COMPANY, None)
POSITIONS = Positions((b"s" * 32,))
SIZE = 16


class Reader:
    """Somebody who stands at a place."""

    def __init__(self, at: int = NOWHERE) -> None:
        self.at = at
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def channel(action: str | None = None) -> Channel:
    return Channel(Wanted(AUDIENCE, (), Matches((lambda event: action in (None, event.action),))), Logs(POSITIONS, SIZE, 1 << 30))


def chain() -> Chain:
    return Chain(COMPANY, "0190a000-0000-7000-8000-00000000000a", Region.US)


def told(chain: Chain, count: int) -> list[Told]:
    return [Told(chain.event(), 3) for _ in range(count)]


def behind(events: list[Told]) -> Progress:
    progress = Progress(AUDIENCE)
    for each in events:
        progress.seen(each.event, each.partition)
    return progress


def seqs(found: list[Told] | list[Entry] | None) -> list[int]:
    events: list[StoredEvent] = [(each.told if isinstance(each, Entry) else each).event for each in found or []]  # type: ignore[union-attr] # no comments here
    return [event.seq for event in events]


def test_the_first_reader_is_told_what_it_had_not_seen_when_it_came() -> None:
    ours, events = channel(), told(chain(), 5)
    mark = ours.mark()
    for each in events[1:4]:
        ours.take(each)
    assert seqs(ours.join(mark, behind(events[:2]))) == [3, 4]
    ours.take(events[4])
    assert seqs(ours.entries(ours.end - 1, 9)) == [5]


def test_repeats_are_told_once() -> None:
    ours, events = channel(), told(chain(), 3)
    ours.join(ours.mark(), behind(events[:1]))
    for each in (*events, *events):
        ours.take(each)
    assert seqs(ours.entries(0, 99)) == [2, 3]


def test_a_hole_ends_it_and_nothing_is_told_behind_it() -> None:
    ours, events, reader = channel(), told(chain(), 5), Reader()
    ours.readers.add(reader)
    ours.join(ours.mark(), behind(events[:1]))
    for each in (events[1], events[3], events[2], events[4]):
        ours.take(each)
    assert ours.is_over
    assert reader.woken
    assert seqs(ours.entries(0, 99)) == [2]
    assert ours.progress.seqs == {events[0].event.workspace_id: 2}
    assert ours.join(ours.mark(), behind(events)) is None


def test_a_hole_between_the_first_reader_and_the_topic_ends_it() -> None:
    ours, events = channel(), told(chain(), 5)
    mark = ours.mark()
    ours.take(events[3])
    assert ours.join(mark, behind(events[:1])) is None
    assert ours.is_over


def test_a_reader_who_came_before_it_began_reads_again_what_is_stored() -> None:
    """The one at whose progress it began may have seen more, which is then a repeat here."""
    ours, events = channel(), told(chain(), 3)
    mark = ours.mark()
    ours.join(ours.mark(), behind(events[:2]))
    ours.take(events[1])
    assert ours.join(mark, behind(events[:1])) is None
    assert not ours.is_over


def test_a_new_workspace_begins_with_its_first_event() -> None:
    ours, first, late = channel(), chain(), Chain(COMPANY, "0190a000-0000-7000-8000-00000000000b", Region.US)
    ours.join(ours.mark(), behind(told(first, 2)))
    new = told(late, 2)
    for each in new:
        ours.take(each)
    assert seqs(ours.entries(0, 9)) == [1, 2]
    assert not ours.is_over


def test_a_reader_that_comes_later_is_told_what_came_meanwhile_unless_it_is_dropped() -> None:
    ours, events = channel(), told(chain(), SIZE * 2)
    ours.join(ours.mark(), behind(events[:1]))
    noted = ours.mark()
    for each in events[1:5]:
        ours.take(each)
    assert seqs(ours.join(noted, behind(events[:3]))) == [4, 5]
    for each in events[5:]:
        ours.take(each)
    assert ours.join(noted, behind(events[:3])) is None
    assert not ours.is_over


def test_what_does_not_match_moves_it_on() -> None:
    ours, events = channel("nothing"), told(chain(), 3)
    ours.join(ours.mark(), behind(events[:1]))
    for each in events:
        ours.take(each)
    ours.keep_alive(0)
    (entry,) = ours.entries(0, 9)
    assert entry.told is None
    text = entry.frame.partition(b"id: ")[2].strip().decode()
    assert POSITIONS.read(AUDIENCE, text) == behind(events).position()


def test_trimming_keeps_what_somebody_still_needs() -> None:
    ours, events = channel(), told(chain(), 6)
    ours.join(ours.mark(), behind(events[:1]))
    ours.readers |= {Reader(at=2), Reader(), Reader(at=4)}
    for each in events:
        ours.take(each)
    ours.trim()
    assert (ours.start, ours.end) == (2, 5)
    assert seqs(ours.entries(2, 9)) == [4, 5, 6]


def test_one_that_is_too_far_behind_takes_nothing_from_the_others() -> None:
    ours, events = channel(), told(chain(), SIZE * 2)
    ours.join(ours.mark(), behind(events[:1]))
    ours.readers |= {Reader(at=0), Reader(at=SIZE + 4)}
    for each in events:
        ours.take(each)
    assert ours.start > 0
    start, end = ours.start, ours.end
    ours.trim()
    assert (ours.start, ours.end) == (start, end)
    assert seqs(ours.entries(end - 1, 9)) == [SIZE * 2]


def test_frames_are_joined_once_for_all_who_stand_at_the_same_place() -> None:
    ours, events = channel(), told(chain(), 4)
    ours.join(ours.mark(), behind(events[:1]))
    for each in events:
        ours.take(each)
    count, shown, first = ours.frames(1)
    assert (count, shown) == (2, 2)
    assert ours.frames(1)[2] is first
    assert ours.frames(2)[0] == 1
    assert first.count(b"event: audit-event\n") == 2
