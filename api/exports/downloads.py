"""Downloads of a process: each is begun, and answered with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from api.attempt import Attempt
from api.exports.actions import Exports
from api.exports.coding import chosen, coder
from api.exports.content import Content
from api.exports.download import Download
from api.exports.encoders import encoder
from api.exports.source import Source
from ops.auth import Principal
from ops.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Downloads:
    """What every download needs. ``stopping`` is set when the process ends."""

    exports: Exports
    source: Source
    stopping: asyncio.Event
    metrics: Metrics

    async def open(self, attempt: Attempt, caller: Principal, export_id: str, *, offset: int, accepted: str | None) -> Download:
        """A download from ``offset`` on, for a client that accepts these codings. Raises as ``Exports.begin``."""
        # Whatever can fail, or takes long, comes first: a download that has begun holds one of the company's places.
        wish = (await self.exports.get(caller, export_id)).wish
        wanted = wish.filter()
        # What is in a Parquet file is compressed already.
        coding = "identity" if wish.format == "PARQUET" else chosen(accepted)
        packing = coder(coding)
        writing = await asyncio.to_thread(encoder, wish, caller.region)  # the first one for Parquet imports pyarrow, a second or more
        started = await self.exports.begin(attempt, caller, export_id, offset)
        try:
            most = started.job.most_rows
            content = Content(writing, packing, most, offset, filtered=wish.is_filtered)
            batches = self.source.read(caller, wanted, started.scope, most)
            return Download(self.exports, caller, started, batches, content, coding, stopping=self.stopping, metrics=self.metrics)
        except BaseException:
            await self.exports.end(caller, started, "FAILED", "INTERNAL_ERROR", 0)
            raise
