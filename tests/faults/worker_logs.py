"""What workers, relays, sinks and gateway say in their logs during a run: how often they repaired something, and what nobody expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from tests.faults.cluster import BESIDE, GATEWAY, WORKERS, Cluster

_REPAIRS = {
    "announced from postgres": "re-announcements",
    "retrying": "retries",
    "ended a frozen worker's backend": "blockers terminated",
    "gap: going back": "gaps refilled",
    "event rejected": "rejections",
    "partition parked": "partitions parked",
    "stalled: ending this worker": "workers that ended themselves",
    "deaf: ending this worker": "workers that ended themselves",
    "stalled: ending this process": "sinks that ended themselves",
    "what is missing comes from Postgres": "partitions refilled",
    "dead letter": "dead letters",
    "the app crashed": "worker apps crashed",
    "kafka_producer_rebuilt": "producers rebuilt",
}


class Logs:
    """The log lines of workers, relays, sinks and gateway from now on."""

    def __init__(self, cluster: Cluster) -> None:
        self._files = [cluster.log_file(name) for name in (*WORKERS, *BESIDE, GATEWAY)]
        self._starts = {file: file.stat().st_size if file.exists() else 0 for file in self._files}

    def _lines(self) -> Iterator[dict[str, Any]]:
        for file, start in self._starts.items():
            if not file.exists():
                continue
            with file.open("rb") as log:
                log.seek(start)
                for line in log:
                    yield _parsed(line)

    def counts(self) -> Counter[str]:
        """Repairs by kind, and the events that were announced again."""
        counts: Counter[str] = Counter()
        for line in self._lines():
            if kind := _REPAIRS.get(line["event"]):
                counts[kind] += 1
            if line["event"] == "announced from postgres":
                counts["events announced from Postgres"] += line["events"]
        return counts

    def troubles(self) -> list[str]:
        """Lines with a traceback, which no fault explains: what is expected is logged without. Each kind once."""
        return sorted(
            {
                f"{line['event']}: {line['exception'][-300:]}"
                for line in self._lines()
                if "exception" in line and not _is_known(line["event"])
            }
        )


def _is_known(event: str) -> bool:
    """Whether it is a library's own complaint about a connection that a fault broke."""
    # asyncpg leaves futures and tasks of its own unread when a connection breaks while it is cancelled or given back
    broken = ("ConnectionDoesNotExist", "connection_lost()", "PoolConnectionHolder.release()")
    of_asyncpg = "never retrieved" in event and any(sign in event for sign in broken)
    # aiokafka's consumer dies of metadata without brokers, as a starting broker sends it; the worker notices and ends, a sink joins anew.
    # Nobody reads what its task ended with.
    of_a_member = "never retrieved" in event and "_coordination_routine()" in event
    # aiokafka's connections complain of a read that was cancelled before it began
    return of_asyncpg or of_a_member or event in ("Unexpected error in coordinator routine", "Unexpected exception in AIOKafkaConnection")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {"event": line.decode(errors="replace").strip()}
    return parsed if isinstance(parsed, dict) and "event" in parsed else {"event": ""}
