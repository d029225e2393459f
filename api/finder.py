"""Finding events. Either they are frequent, and a short walk along the list meets enough of them; or they are rare,
and the search table names them all. Each statement is an answer of its own, of one snapshot (ops/docs/query.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from api.asked import EventFilter
from api.cursor import Position
from api.store import Store
from ops.auth import Principal
from ops.db import Connection, Row, load_queries
from ops.rows import to_stored
from schemas.event import StoredEvent
from schemas.tokens import event_tokens

PLANNING: Final = MappingProxyType(
    {
        "plan_cache_mode": "force_custom_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_sort": "off",
        "enable_incremental_sort": "off",
    }
)
"""How lists are planned. For the values asked with: most filters are null, and tenants differ a thousandfold. And along the index
that is in the list's order, whatever the planner expects: reading other events and sorting them knows no bounds.
"""
_MOST_CANDIDATES = 1000

Found = tuple[StoredEvent, Position]


class Listed(NamedTuple):
    """Events of a list, each with its position; and the latest receipt of those of the caller's that have left the database, if any has."""

    events: list[Found]
    hot_since: int | None


NOTHING: Final = Listed([], None)


class Steps(NamedTuple):
    """How many rows of a list are tried one by one: so many for each event that is asked for, and so many at least.

    The longer the walk, the rarer is what is left to be sorted: 80 rows are 60 µs, and one event in 80 is 6 ms in a million.
    """

    an_event: int = 80
    least: int = 2000


_STEPS = Steps()


class _Search(NamedTuple):
    """A statement for candidates: which events of a list they are, and what is still to be seen of each."""

    name: str
    by: Sequence[int] | str
    walk: tuple[int, ...] = ()
    words: frozenset[int] = frozenset()
    """To be looked for in every candidate."""
    words_unless_erased: frozenset[int] = frozenset()
    """To be looked for in those candidates alone of which something was erased: the index still has it."""


class Finder:
    """Finds events in the regions' databases."""

    def __init__(self, store: Store, steps: Steps = _STEPS) -> None:
        self._store = store
        self._steps = steps
        self._sql = load_queries("api", "events.sql")

    async def events(self, caller: Principal, wanted: EventFilter, after: Position | None, limit: int) -> Listed:
        """Up to ``limit`` events of the caller's behind ``after``. Raises ``Unavailable``."""
        async with self._store.reading_for(caller, "events", PLANNING) as connection:
            found = await self._find(connection, caller, wanted, after, limit)
            # Behind the list: what was removed in between is told of at least.
            hot_since: int | None = await connection.fetchval(self._sql["hot_since"], caller.company_id, wanted.workspace_id)
        return Listed(found, hot_since)

    async def _find(
        self, connection: Connection, caller: Principal, wanted: EventFilter, after: Position | None, limit: int
    ) -> list[Found]:
        edge, look = after or wanted.first(), _Look(connection, self._sql, caller, wanted)
        tokens, words = wanted.tokens(caller.company_id), frozenset(wanted.word_tokens(caller.company_id))
        walk = max(self._steps.least, limit * self._steps.an_event)
        if wanted.idempotency_key is not None:
            search = _Search("found_by_key", wanted.idempotency_key, words=words)
        elif wanted.words is not None:
            search = _Search("found_by_words", tokens, (walk,), words_unless_erased=words)
        elif (found := await look.walk(edge, walk, limit)) is not None:
            return found
        else:
            search = _Search("found", tokens)
        return await look.search(search, edge, limit)


class _Look:
    """One caller's look for one list, in one transaction."""

    def __init__(self, connection: Connection, sql: Any, caller: Principal, wanted: EventFilter) -> None:
        self._connection = connection
        self._sql = sql
        self._region = caller.region
        self._wanted = wanted
        self._asked = (caller.company_id, wanted.event_filter(), wanted.workspace_id)

    async def walk(self, edge: Position, steps: int, limit: int) -> list[Found] | None:
        """The first ``limit`` events that are asked for, if so many are met within ``steps`` or the list ends there; else ``None``."""
        name = f"walk_{self._wanted.sort}_{'desc' if self._wanted.descending else 'asc'}"
        place = self._wanted.event_place(edge)
        rows = await self._connection.fetch(self._sql[name], *self._asked, place, steps, limit)
        found = [row for row in rows if row["is_asked"]]
        is_cut_short = bool(rows) and rows[-1]["number"] == steps
        return None if len(found) < limit and is_cut_short else self._shown(found)

    async def search(self, search: _Search, edge: Position, limit: int) -> list[Found]:
        """The first ``limit`` events that are asked for among the candidates, which are asked for again until there are enough.

        A candidate is none after all when what it was found by has been erased.
        """
        found: list[Row] = []
        most = limit
        while True:
            candidates = await self._candidates(search, edge, most)
            found += [row for row in candidates if row["is_asked"] and self._has(search, row)]
            if len(found) >= limit or len(candidates) < most:
                return self._shown(found[:limit])
            edge = self._wanted.position(candidates[-1])
            most = min(most * 4, _MOST_CANDIDATES)

    async def _candidates(self, search: _Search, edge: Position, most: int) -> list[Row]:
        """The list's next ``most``, in its order."""
        wanted = self._wanted
        order = (wanted.sort, wanted.descending)
        place = wanted.event_place(edge)
        rows = await self._connection.fetch(self._sql[search.name], *self._asked, place, search.by, *order, most, *search.walk)
        place_of: Callable[[Row], Position] = wanted.position
        return sorted(rows, key=place_of, reverse=wanted.descending)[:most]

    def _has(self, search: _Search, row: Row) -> bool:
        words = search.words if row["erased_at"] is None else search.words | search.words_unless_erased
        return not words or words.issubset(event_tokens(to_stored(row, self._region)))

    def _shown(self, rows: Sequence[Row]) -> list[Found]:
        return [(to_stored(row, self._region), self._wanted.position(row)) for row in rows]
