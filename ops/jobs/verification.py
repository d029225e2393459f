"""``archive-verification``: each part that was archived is read back, every line of it, before anything of it may leave the hot table; and
again after every ARCHIVE_RECHECK_DAYS, as long as it is warm.

A part that does not pass says why in its row, raises an alert, and is looked at again by every run; its hot events stay. A store that is
away is no error of a part: the run fails, and is made up for soon.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from ops import log
from ops.archive.checking import Bad, Recorded, check_part
from ops.archive.data_keys import DataKeys, NoDataKey
from ops.db import Row, load_queries
from ops.jobs.work import JobFailed, Work, in_thread
from ops.objects import Cold, NotThere, ObjectStore
from ops.sealing import Sealer, Unsealable
from ops.verify.archive import Run
from schemas.archive import Blocks, keys_key_of
from schemas.event import FIRST_TIME
from schemas.retention import DAY_MICROS

_LOG = log.get(__name__)
_PAGE_PARTS = 100
_FIRST = UUID(int=0)


async def run(work: Work) -> dict[str, int]:
    """Verify what is not verified. Returns counts of parts, events and failed parts.

    Raises ``JobFailed`` when some did not pass, and ``StoreUnavailable``.
    """
    verifier = _Verifier(work)
    after = _FIRST
    while parts := await verifier.page(after):
        for part in parts:
            await work.beat()
            await verifier.verify(part)
        after = parts[-1]["id"]
    return await verifier.end()


class _Verifier:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._sql = load_queries("ops.jobs", "verification.sql")
        self._data_keys = DataKeys(Sealer.of_archive(work.settings))
        self._counts = {"parts": 0, "events": 0, "failed": 0}
        days = work.settings.archive_recheck_days
        self._read_before = work.clock.micros() - days * DAY_MICROS if days else FIRST_TIME
        self._events = work.metrics.archive_verified.labels(work.region.value)

    async def page(self, after: UUID) -> list[Row]:
        """The next parts."""
        async with self._work.pool.acquire() as connection:
            return await connection.fetch(self._sql["unverified"], after, _PAGE_PARTS, self._read_before)

    async def verify(self, row: Row) -> None:
        """Read one part back and write down what was found."""
        try:
            count = await self._check(row)
        except (Bad, Cold) as error:
            if isinstance(error, Cold) and row["verified_at"] is not None:  # the store moved it, as it was told to: nothing is wrong
                return
            self._counts["failed"] += 1
            _LOG.critical("an archive is not what was written", region=self._work.region, part=row["id"], error=str(error))
            await self._record("not_verified", row["id"], str(error))
            return
        self._work.faults.hit("verification_walked")
        await self._record("verified", row["id"])
        self._work.faults.hit("verification_recorded")
        self._events.inc(count)
        self._counts["parts"] += 1
        self._counts["events"] += count

    async def end(self) -> dict[str, int]:
        """What it came to."""
        async with self._work.pool.acquire() as connection:
            failed: int = await connection.fetchval(self._sql["count_failed"])
        if failed:
            raise JobFailed(f"{failed} archived parts did not pass: see their verification_error", self._counts)
        return self._counts

    async def _check(self, row: Row) -> int:
        try:
            recorded = _recorded(row)
        except ValueError as error:
            raise Bad(f"{row['key']}: {error}") from None
        async with self._work.pool.acquire() as connection:
            try:
                data_key = await self._data_keys.get(connection, str(row["company_id"]))
            except NoDataKey:
                raise Bad(f"{keys_key_of(recorded.key)}: the company's data key is gone") from None
            except Unsealable as error:
                raise JobFailed(f"ARCHIVE_KEY does not open the data key of company {row['company_id']}: {error}", self._counts) from None
            ranges = [Run(str(found[0]), *found[1:]) for found in await connection.fetch(self._sql["part_ranges"], row["id"])]
            unjoined = await connection.fetchrow(self._sql["unjoined"], row["id"])
        count = await in_thread(self._work, partial(_read, self._work.objects, recorded, ranges, data_key))
        if unjoined is not None:
            workspace, first, last = unjoined
            raise Bad(f"{recorded.key}: seqs {first} to {last} of workspace {workspace} do not join their neighbours in the chain")
        return count

    async def _record(self, query: str, part: UUID, *words: str) -> None:
        async with self._work.pool.acquire() as connection:
            await connection.execute(self._sql[query], part, self._work.clock.micros(), *words)


def _read(objects: ObjectStore, recorded: Recorded, ranges: list[Run], data_key: bytes) -> int:
    keys_key = keys_key_of(recorded.key)
    try:
        return check_part(recorded, ranges, data_key, objects.stream(recorded.key), objects.stream(keys_key))
    except NotThere:
        missing = recorded.key if objects.head(recorded.key) is None else keys_key
        raise Bad(f"{missing}: there is no such object") from None


def _recorded(row: Row) -> Recorded:
    return Recorded(
        key=row["key"],
        sha256=row["sha256"],
        content_sha256=row["content_sha256"],
        row_count=row["row_count"],
        blocks=Blocks.unpack(row["blocks"], row["size"], row["keys_size"]),
        size=row["size"],
        keys_size=row["keys_size"],
        occurred=(row["occurred_from"], row["occurred_to"]),
        received=(row["received_from"], row["received_to"]),
    )
