"""Named places where a process can be made to die, for the fault tests. Without ``FAULT_POINTS`` they do nothing.

``FAULT_POINTS`` is ``name:probability[,name:probability…]:seed``; the same seed dies at the same hits.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Final

EXIT_CODE: Final = 99
"""Exit code of a process that died at a fault point."""

POINTS: Final = (
    "chunk_received",
    "source_locked",
    "heads_locked",
    "before_copy",
    "after_copy",
    "before_commit",
    "after_commit",
    "before_announce",
    "between_announcements",
    "after_announce",
    "before_mark",
    "in_seek",
    "in_reannounce",
)
"""In a chain worker."""
RELAY_POINTS: Final = ("before_relay_publish", "after_relay_ack", "before_relay_commit", "after_relay_commit")
"""In the audit relay."""
SINK_POINTS: Final = ("sink_records_read", "sink_position_locked", "sink_before_commit", "sink_after_commit", "sink_in_refill")
"""In a sink."""
WEBHOOK_POINTS: Final = (
    "webhook_before_hand_over",
    "webhook_claimed",
    "webhook_sent",
    "webhook_before_results",
    "webhook_before_results_commit",
)
"""In a dispatcher of webhooks: what it took from the sink or claimed is not yet sent; what it sent is not yet recorded."""


ARCHIVE_POINTS: Final = ("archive_page_written", "archive_events_written", "archive_keys_written", "archive_recorded")
"""In the archive sink."""
RETENTION_POINTS: Final = (
    "purge_tiles_written",
    "purge_before_record",
    "purge_recorded",
    "purge_batch_done",
    "expiry_before_record",
    "expiry_recorded",
    "expiry_events_removed",
    "expiry_removed",
)
"""In the jobs purge and archive-expiry."""
JOB_POINTS: Final = (
    "job_claimed",
    "job_before_finish",
    "marking_before_commit",
    "marking_committed",
    "archival_sent",
    "verification_walked",
    "verification_recorded",
)
"""In the scheduler, and its jobs up to verification."""
RESTORE_POINTS: Final = ("restore_before_commit", "restore_claimed", "restore_asked", "restore_looked", "restore_recorded")
"""In the jobs that carry restore requests out."""


class FaultPoints:
    """Decides at each named place whether the process dies there. Raises ``ValueError`` for an unknown name."""

    def __init__(self, spec: str | None) -> None:
        self._chances: dict[str, float] = {}
        self._random = random.Random()
        if spec:
            points, _, seed = spec.rpartition(":")
            self._random = random.Random(seed)
            self._chances = {name: float(chance) for name, chance in (pair.split(":") for pair in points.split(","))}
        known = (*POINTS, *RELAY_POINTS, *SINK_POINTS, *WEBHOOK_POINTS, *ARCHIVE_POINTS, *JOB_POINTS, *RETENTION_POINTS, *RESTORE_POINTS)
        if unknown := set(self._chances).difference(known):
            raise ValueError(f"FAULT_POINTS names no such place: {', '.join(sorted(unknown))}")

    def hit(self, name: str) -> None:
        """Pass the place, or die there as a crash would: at once, nothing flushed or closed."""
        if not self._chances:
            return
        chance = self._chances.get(name)
        if chance is not None and self._random.random() < chance:
            sys.stderr.write(f'{{"event": "fault_point", "name": "{name}"}}\n')
            sys.stderr.flush()
            os._exit(EXIT_CODE)
