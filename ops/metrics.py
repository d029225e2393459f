"""Every metric of every process: its name with the unit, its labels, and the question it answers.

A process makes one ``Metrics`` on a registry of its own. On a hot path bind children once
(``accepted = metrics.accepted.labels("EU")``): finding one by its labels costs about 1 µs.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_CHUNK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_CHUNK_EVENTS = (1, 5, 10, 50, 100, 250, 500, 1000, 2500, 5000)
_ARCHIVE_SECONDS = (0.05, 0.1, 0.5, 1, 5, 15, 60, 180, 600, 1800)
_BYTES = tuple(4.0**power for power in range(4, 13))

_JOB_SECONDS = (0.1, 1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600)

PARTITION = ("region", "partition")


class Metrics:
    """All metrics, registered. Raises ``ValueError`` when the registry already holds them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._http(registry)
        self._ingest(registry)
        self._streams(registry)
        self._auth_and_api(registry)
        self._relay(registry)
        self._sinks(registry)
        self._tail(registry)
        self._webhooks(registry)
        self._exports(registry)
        self._archive(registry)
        self._retention(registry)
        self._jobs(registry)

    def _http(self, to: CollectorRegistry) -> None:
        self.request_seconds = Histogram(
            "hyrelog_http_request_seconds", "How long do requests take, by route template and status?",
            ("method", "route", "status"), buckets=_REQUEST_SECONDS, registry=to,
        )  # fmt: skip
        self.request_bytes = Histogram(
            "hyrelog_http_request_bytes", "How large are request bodies?", ("route",), buckets=_BYTES, registry=to
        )

    def _ingest(self, to: CollectorRegistry) -> None:
        self.accepted = Counter("hyrelog_ingest_accepted_events", "How many events were accepted?", ("region",), registry=to)
        self.replayed = Counter("hyrelog_ingest_replayed_events", "How many were replays of an idempotency key?", ("region",), registry=to)
        self.idempotency_conflicts = Counter(
            "hyrelog_ingest_idempotency_conflicts",
            "How many events were refused since their idempotency key stands for other content?",
            ("region",),
            registry=to,
        )
        self.unclaimed = Counter(
            "hyrelog_ingest_unclaimed_events",
            "How many events with an idempotency key were accepted without a claim, Postgres being away or slow?",
            ("region",),
            registry=to,
        )
        self.claim_seconds = Histogram(
            "hyrelog_ingest_claim_seconds",
            "How long do statements take that claim idempotency keys?",
            ("region",),
            buckets=_CHUNK_SECONDS,
            registry=to,
        )
        self.failed_sweeps = Counter(
            "hyrelog_ingest_failed_sweeps", "How often could old claims of idempotency keys not be deleted?", ("region",), registry=to
        )
        self.batch_events = Histogram(
            "hyrelog_ingest_batch_events",
            "How many events do batches hold?",
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
            registry=to,
        )
        self.refused = Counter("hyrelog_ingest_refused_requests", "How many requests were refused, and why?", ("code",), registry=to)
        self.publish_errors = Counter(
            "hyrelog_ingest_publish_errors", "How often did Kafka not take a record?", ("region", "error"), registry=to
        )
        self.ack_seconds = Histogram(
            "hyrelog_ingest_ack_seconds", "How long until Kafka acknowledges?", ("region",), buckets=_REQUEST_SECONDS, registry=to
        )
        self.unacked_bytes = Gauge("hyrelog_ingest_unacked_bytes", "How much waits for Kafka's acknowledgement?", ("region",), registry=to)
        self.waiters = Gauge("hyrelog_ingest_waiters", "How many requests wait for their event to be stored?", registry=to)
        self.producer_rebuilds = Counter(
            "hyrelog_ingest_producer_rebuilds", "How often was a stuck producer replaced?", ("region",), registry=to
        )

    def _streams(self, to: CollectorRegistry) -> None:
        self.chained = Counter("hyrelog_streams_chained_events", "How many events were chained and persisted?", ("region",), registry=to)
        self.announced = Counter("hyrelog_streams_announced_events", "How many were announced?", ("region",), registry=to)
        self.reannounced = Counter(
            "hyrelog_streams_reannounced_events", "How many of them from Postgres, after a crash?", ("region",), registry=to
        )
        self.repeats = Counter(
            "hyrelog_streams_repeated_records", "How many records came again and were dropped?", ("region",), registry=to
        )
        self.aliased = Counter(
            "hyrelog_streams_aliased_events", "How many events repeat one of their idempotency key?", ("region",), registry=to
        )
        self.rejected = Counter(
            "hyrelog_streams_rejected_events", "How many events could not be stored?", ("region", "reason"), registry=to
        )
        self.gaps = Counter("hyrelog_streams_gaps", "How often did offsets jump ahead of the stored position?", ("region",), registry=to)
        self.parked = Gauge("hyrelog_streams_parked", "Is the partition parked (1), waiting for a decision?", PARTITION, registry=to)
        self.lag_offsets = Gauge("hyrelog_streams_lag_offsets", "How many records are not yet persisted?", PARTITION, registry=to)
        self.lag_seconds = Gauge("hyrelog_streams_lag_seconds", "How old is the oldest of them?", PARTITION, registry=to)
        self.chunk_events = Histogram("hyrelog_streams_chunk_events", "Events a transaction?", buckets=_CHUNK_EVENTS, registry=to)
        self.chunk_bytes = Histogram("hyrelog_streams_chunk_bytes", "Bytes a transaction?", buckets=_BYTES, registry=to)
        self.chunk_seconds = Histogram(
            "hyrelog_streams_chunk_seconds", "Where does a chunk's time go (chain, copy, commit, announce)?",
            ("phase",), buckets=_CHUNK_SECONDS, registry=to,
        )  # fmt: skip
        self.retries = Counter(
            "hyrelog_streams_retries", "How often was a chunk tried again, by SQLSTATE class?", ("region", "sqlstate"), registry=to
        )
        self.halvings = Counter("hyrelog_streams_halvings", "How often was a chunk halved to find a bad event?", ("region",), registry=to)
        self.blockers_terminated = Counter(
            "hyrelog_streams_blockers_terminated", "How often was a frozen worker's backend ended?", ("region",), registry=to
        )

    def _auth_and_api(self, to: CollectorRegistry) -> None:
        self.rate_limited = Counter(
            "hyrelog_auth_limited_requests",
            "How many requests were refused by which limit (key, events, address, user)?",
            ("limit",),
            registry=to,
        )
        self.rate_limit_store_errors = Counter(
            "hyrelog_auth_limit_store_errors",
            "How often could the shared counts not be reached, so that each process counts alone?",
            registry=to,
        )
        self.key_lookups = Counter(
            "hyrelog_auth_keys",
            "How were API keys judged: hit, known_bad, looked_up, stale (database away), unavailable?",
            ("outcome",),
            registry=to,
        )
        self.query_seconds = Histogram(
            "hyrelog_api_query_seconds", "How long do queries take, by name?", ("query", "region"), buckets=_REQUEST_SECONDS, registry=to
        )

    def _relay(self, to: CollectorRegistry) -> None:
        self.outbox_entries = Gauge("hyrelog_relay_outbox_entries", "How many audit entries wait to be sent?", ("region",), registry=to)
        self.outbox_age = Gauge("hyrelog_relay_outbox_age_seconds", "Since when does the oldest of them wait?", ("region",), registry=to)
        self.relayed = Counter("hyrelog_relay_sent_entries", "How many audit entries were acknowledged?", ("region",), registry=to)
        self.relay_retries = Counter(
            "hyrelog_relay_retries", "How often was the outbox tried again, by error?", ("region", "error"), registry=to
        )

    def _sinks(self, to: CollectorRegistry) -> None:
        sink = ("sink", "region")
        self.sink_events = Counter("hyrelog_sink_events", "How many events did the sink take?", sink, registry=to)
        self.sink_lag_records = Gauge(
            "hyrelog_sink_lag_records", "How many records of this process's partitions did the sink not take yet?", sink, registry=to
        )
        self.sink_lag_seconds = Gauge("hyrelog_sink_lag_seconds", "How old is the oldest of them?", sink, registry=to)
        self.sink_refilling = Gauge(
            "hyrelog_sink_refilling",
            "How many partitions are still compared with what is stored, since the topic lacks it?",
            sink,
            registry=to,
        )
        self.sink_refilled = Counter(
            "hyrelog_sink_refilled_events", "How many events were taken from Postgres for that?", sink, registry=to
        )
        self.sink_batch_events = Histogram(
            "hyrelog_sink_batch_events", "Events a transaction?", ("sink",), buckets=_CHUNK_EVENTS, registry=to
        )
        self.sink_batch_seconds = Histogram(
            "hyrelog_sink_batch_seconds", "How long does a transaction take?", ("sink",), buckets=_CHUNK_SECONDS, registry=to
        )
        self.sink_repeats = Counter("hyrelog_sink_repeated_records", "How many records came again and were dropped?", sink, registry=to)
        self.sink_gaps = Counter(
            "hyrelog_sink_gaps",
            "How often did the topic not go on where the sink stood (first_seen, recreated, behind, truncated, hole)?",
            (*sink, "reason"),
            registry=to,
        )
        self.sink_retries = Counter("hyrelog_sink_retries", "How often was a batch tried again, by error?", (*sink, "error"), registry=to)
        self.sink_dead = Counter("hyrelog_sink_dead_letters", "How many records could the sink not take?", sink, registry=to)
        self.sink_stopped = Gauge(
            "hyrelog_sink_stopped", "How many partitions stand still, since too many of their records in a row are dead?", sink, registry=to
        )

    def _webhooks(self, to: CollectorRegistry) -> None:
        region = ("region",)
        self.webhook_attempts = Counter(
            "hyrelog_webhook_attempts",
            "How many attempts were recorded, by the state that they left the delivery in?",
            (*region, "state"),
            registry=to,
        )
        self.webhook_attempt_seconds = Histogram(
            "hyrelog_webhook_attempt_seconds", "How long do customers' endpoints take?", region, buckets=_REQUEST_SECONDS, registry=to
        )
        self.webhook_due = Gauge("hyrelog_webhook_due_deliveries", "How many deliveries are still to be made?", region, registry=to)
        self.webhook_due_age = Gauge("hyrelog_webhook_due_age_seconds", "How late is the oldest of those due now?", region, registry=to)
        self.webhook_in_flight = Gauge("hyrelog_webhook_requests", "How many requests are under way?", region, registry=to)
        self.webhook_waiting = Gauge("hyrelog_webhook_waiting_deliveries", "How many claimed deliveries wait for one?", region, registry=to)
        self.webhook_failing_lanes = Gauge(
            "hyrelog_webhook_failing_endpoints", "How many endpoints failed last, as far as this process knows?", region, registry=to
        )
        self.webhook_disabled = Counter(
            "hyrelog_webhook_disabled_endpoints", "How many endpoints were disabled, and why?", (*region, "reason"), registry=to
        )
        self.webhook_interrupted = Counter(
            "hyrelog_webhook_interrupted_attempts", "How many attempts did their dispatcher die with?", region, registry=to
        )
        self.webhook_lost = Counter(
            "hyrelog_webhook_lost_leases", "How many attempts ended after their lease, so that another was made?", region, registry=to
        )
        self.webhook_replayed = Counter(
            "hyrelog_webhook_replayed_deliveries", "How many deliveries were made due again by replays?", region, registry=to
        )
        self.webhook_retries = Counter(
            "hyrelog_webhook_retries", "How often did the dispatcher have to try again, by error?", (*region, "error"), registry=to
        )

    def _archive(self, to: CollectorRegistry) -> None:
        region = ("region",)
        self.archived_events = Counter("hyrelog_archive_archived_events", "How many events were archived?", region, registry=to)
        self.archive_seconds = Histogram(
            "hyrelog_archive_seconds", "How long does a part take to be archived?", region, buckets=_ARCHIVE_SECONDS, registry=to
        )
        self.archive_waiting = Gauge(
            "hyrelog_archive_waiting_parts", "How many parts are known to this process and not yet archived?", region, registry=to
        )
        self.archive_conflicts = Counter(
            "hyrelog_archive_conflicts", "How often was the name of a part taken by something that is not ours?", region, registry=to
        )
        self.archive_refused = Counter(
            "hyrelog_archive_refused_parts",
            "How often was a part not archived, since what is stored is not what was marked?",
            region,
            registry=to,
        )
        self.archive_retries = Counter(
            "hyrelog_archive_retries", "How often was a part tried again, by error?", (*region, "error"), registry=to
        )

    def _retention(self, to: CollectorRegistry) -> None:
        region = ("region",)
        self.purged = Counter("hyrelog_job_purged_events", "How many events were removed from Postgres?", region, registry=to)
        self.purge_refused = Gauge(
            "hyrelog_job_unpurged_workspaces",
            "How many workspaces are not purged any further, since rows, tiles or archive are not what they should be?",
            region,
            registry=to,
        )
        self.expired = Counter("hyrelog_archive_expired_parts", "How many archived parts were removed?", region, registry=to)
        self.expiry_locked = Gauge(
            "hyrelog_archive_locked_parts", "How many parts are past their retention and kept by Object Lock?", region, registry=to
        )
        self.restore_requests = Gauge(
            "hyrelog_archive_restore_requests", "How many restore requests are not over, by their state?", (*region, "state"), registry=to
        )
        self.restores_late = Gauge(
            "hyrelog_archive_late_restores", "How many does the store take twice as long for as their tier should?", region, registry=to
        )

    def _jobs(self, to: CollectorRegistry) -> None:
        job = ("region", "job")
        self.job_runs = Counter(
            "hyrelog_job_runs", "How many runs of jobs ended, and how (SUCCEEDED, FAILED, LOST)?", (*job, "result"), registry=to
        )
        self.job_seconds = Histogram("hyrelog_job_seconds", "How long do they take?", job, buckets=_JOB_SECONDS, registry=to)
        self.job_success_at = Gauge(
            "hyrelog_job_last_success_timestamp_seconds", "When did the job last succeed, in seconds since 1970?", job, registry=to
        )
        self.job_failing = Gauge("hyrelog_job_failing", "Did its last run fail (1)?", job, registry=to)
        self.job_overdue = Gauge("hyrelog_job_overdue_seconds", "For how long is it due, and nobody runs it?", job, registry=to)
        self.archive_unverified = Gauge(
            "hyrelog_archive_verification_failed_parts", "How many archived parts did not pass verification?", ("region",), registry=to
        )
        self.archive_verified = Counter(
            "hyrelog_archive_verified_events", "How many archived events were verified?", ("region",), registry=to
        )

    def _tail(self, to: CollectorRegistry) -> None:
        self.tail_clients = Gauge("hyrelog_tail_clients", "How many tails are open?", ("region",), registry=to)
        self.tail_sent = Counter("hyrelog_tail_sent_events", "How many events were told to tails, each to each?", ("region",), registry=to)
        self.tail_pages = Counter(
            "hyrelog_tail_pages", "How many pages were read from Postgres for tails that catch up?", ("region",), registry=to
        )
        self.tail_lag_seconds = Histogram(
            "hyrelog_tail_lag_seconds",
            "How long after it was announced does an event go out to tails?",
            ("region",),
            buckets=_REQUEST_SECONDS,
            registry=to,
        )
        self.tail_ended = Counter(
            "hyrelog_tail_ended_clients",
            "Why did tails end (gone, lifetime, slow, key, shutdown)?",
            ("region", "reason"),
            registry=to,
        )
        self.tail_restarts = Counter(
            "hyrelog_tail_restarts",
            "How often were tails sent back to Postgres (consumer, hole, undecodable)?",
            ("region", "reason"),
            registry=to,
        )
        self.tail_away = Gauge(
            "hyrelog_tail_away", "Can the events topic not be read (1), so that tails are behind?", ("region",), registry=to
        )

    def _exports(self, to: CollectorRegistry) -> None:
        self.export_rows = Counter(
            "hyrelog_export_rows",
            "How many rows were exported, and from where (hot, archive)?",
            ("format", "origin", "region"),
            registry=to,
        )
        self.export_downloads = Gauge("hyrelog_export_downloads", "How many exports are being downloaded?", ("region",), registry=to)
        self.export_ended = Counter(
            "hyrelog_export_ended_downloads", "How did downloads end, and why?", ("status", "reason", "region"), registry=to
        )
