"""Finding the events that Postgres will not take, by halving (ops/docs/adr/0004-halving.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ops.db import Connection, sqlstate
from streams.copyrow import place_of
from streams.sequence import Place, Refusal
from streams.store import Store, Verdict, judge

DUPLICATE_ID = Refusal("DUPLICATE_ID", "an event with this id is stored already")


async def find_refused(store: Store, connection: Connection, rows: Sequence[bytes], on_halving: Callable[[], None]) -> dict[Place, Refusal]:
    """The rows that can't be stored, by the place of their event. Leaves the others in the transaction: roll it back.

    What works stays, so that the second of two events with one id is found too.
    """
    try:
        async with connection.transaction():  # a savepoint
            await store.copy(connection, rows)
    except Exception as error:
        if judge(error) is not Verdict.BAD_DATA:
            raise
        if len(rows) == 1:
            return {Place(*place_of(rows[0])): _refusal(error)}
        on_halving()
        half = len(rows) // 2
        first = await find_refused(store, connection, rows[:half], on_halving)
        return first | await find_refused(store, connection, rows[half:], on_halving)
    return {}


def _refusal(error: BaseException) -> Refusal:
    """The customer's reason. Postgres's own message may hold the event's values, so only its code and constraint are told."""
    if getattr(error, "constraint_name", None) == "events_id":
        return DUPLICATE_ID
    return Refusal("NOT_STORABLE", f"the database refused the event ({sqlstate(error) or 'not encodable'})")
