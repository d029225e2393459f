"""A part as Postgres knows it: where its objects are, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ops.db import Row
from schemas.archive import Blocks, keys_key_of

PART_COLUMNS = (
    "id, company_id, archive_day, part, row_count, key, size, keys_size, blocks, occurred_from, occurred_to, received_from, received_to, "
    "is_cold_archived, restored_until"
)
"""The select list that ``to_part`` reads, in its order; of parts that are archived."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is archived. Times are microseconds, both ends inclusive."""

    id: str
    company_id: str
    archive_day: date
    part: int
    row_count: int
    key: str
    blocks: Blocks
    occurred_from: int
    occurred_to: int
    received_from: int
    received_to: int
    is_cold: bool
    restored_until: int | None

    @property
    def keys_key(self) -> str:
        """The object of its salts."""
        return keys_key_of(self.key)

    def can_be_read(self, now: int) -> bool:
        """Whether it is warm, or restored and that is not over."""
        return is_readable(now, is_cold=self.is_cold, restored_until=self.restored_until)


def is_readable(now: int, *, is_cold: bool, restored_until: int | None) -> bool:
    """Whether a part can be read at that time. When a restoration is over, that is at once, whenever its row is tidied up."""
    return not is_cold if restored_until is None else restored_until > now


def to_part(row: Row) -> Part:
    """The part of a row selected by ``PART_COLUMNS`` on a pool of ``db.open_pool``."""
    return Part(
        id=str(row[0]),
        company_id=str(row[1]),
        archive_day=row[2],
        part=row[3],
        row_count=row[4],
        key=row[5],
        blocks=Blocks.unpack(row[8], row[6], row[7]),
        occurred_from=row[9],
        occurred_to=row[10],
        received_from=row[11],
        received_to=row[12],
        is_cold=row[13],
        restored_until=row[14],
    )
