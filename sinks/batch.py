"""What a transaction takes of a batch: each workspace's events in the order of its chain, none twice and none left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple

from schemas.event import StoredEvent
from sinks.store import REFILL_ALL, Letter, Position, Row

DEAD_IN_A_ROW = 100
"""More dead letters than this, one behind the other, are no bad events but a bad sink: better stop than skip."""


class Hole(Exception):
    """The sink lacks events of a workspace, up to ``last``, that the batch does not have."""

    def __init__(self, workspace_id: str, last: int) -> None:
        super().__init__(workspace_id, last)
        self.workspace_id = workspace_id
        self.last = last


class TooManyDead(Exception):
    """So many dead letters in a row that the fault is likely ours."""


class Item(NamedTuple, Generic[Row]):
    """An event of the topic (``offset``) or of Postgres (none), with the row to store, or why there is none."""

    offset: int | None
    event: StoredEvent | None
    """``None``: the record could not be read."""
    after: int
    """The seq that it follows in its chain; one less than its own but where Postgres has nothing in between."""
    row: Row | None
    reason: str = ""
    is_nobodys: bool = False
    """Not even read: of a workspace that the sink takes nothing of."""

    def dead(self, reason: str) -> Item[Row]:
        """The same, not to be stored."""
        return self._replace(row=None, reason=reason)

    def letter(self) -> Letter:
        """It as a dead letter."""
        if self.event is None:
            return Letter(self.offset, None, None, self.reason)
        return Letter(self.offset, self.event.workspace_id, self.event.seq, self.reason)


class Taken(NamedTuple, Generic[Row]):
    """What is stored of a batch."""

    rows: list[Row]
    letters: list[Letter]
    dead_run: int
    """How many of the last ones, one behind the other, are dead."""


def in_order(items: Iterable[Item[Row]], heads: Mapping[str, int], dead_run: int) -> Taken[Row]:
    """Take what follows the heads (the last seq by workspace); what is not above them was taken before.

    Raises ``Hole``, ``TooManyDead``.
    """
    reached = dict(heads)
    rows: list[Row] = []
    letters: list[Letter] = []
    for item in items:
        if item.is_nobodys:
            continue
        if item.event is not None:
            head = reached.get(item.event.workspace_id, 0)
            if item.event.seq <= head:
                continue
            if item.after > head:
                raise Hole(item.event.workspace_id, item.after)
            reached[item.event.workspace_id] = item.event.seq
        if item.row is not None:
            rows.append(item.row)
            dead_run = 0
            continue
        letters.append(item.letter())
        dead_run += 1
        if dead_run > DEAD_IN_A_ROW:
            raise TooManyDead(item.reason)
    return Taken(rows, letters, dead_run)


def fresh(items: Iterable[Item[Row]], position: Position) -> list[Item[Row]]:
    """Without the records below the position."""
    return [item for item in items if item.offset is None or item.offset >= position.next_offset]


def jumps(position: Position, items: Iterable[Item[Row]]) -> bool:
    """Whether the log jumped from the position to the first record: nothing but retention takes records out of it."""
    first = next((item.offset for item in items if item.offset is not None), position.next_offset)
    return first > position.next_offset


def moved(position: Position, items: Sequence[Item[Row]]) -> Position:
    """The position behind those items. Where the log jumped, all of the partition's workspaces are to be refilled."""
    last = max((item.offset for item in items if item.offset is not None), default=position.next_offset - 1)
    return Position(position.topic_id, last + 1, REFILL_ALL if jumps(position, items) else position.refill_from)
