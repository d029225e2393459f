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
        started = await self.exports.begin(attempt, caller, export_id, offset)
        job = started.job
        # What is in a Parquet file is compressed already.
        coding = "identity" if job.wish.format == "PARQUET" else chosen(accepted)
        batches = self.source.read(caller, job.wish.filter(), started.scope, job.most_rows)
        content = Content(encoder(job.wish, caller.region), coder(coding), job.most_rows, offset, filtered=job.wish.is_filtered)
        return Download(self.exports, caller, started, batches, content, coding, stopping=self.stopping, metrics=self.metrics)
