"""What stands on the dashboard: rows of panels, each metric of the list in at least one of them."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from ops.metrics import Metrics
from ops.monitoring.promql import REGION, AnyMetric, level, per_second, quantile, question_of, rate, total


class Line(NamedTuple):
    """One expression of a panel."""

    expr: str
    legend: str
    question: str


class Panel(NamedTuple):
    """A time series; ``unit`` is Grafana's name of it."""

    title: str
    unit: str
    lines: tuple[Line, ...]


class Row(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def rows(of: Metrics) -> tuple[Row, ...]:
    """The dashboard, from where a request comes in to where its event goes."""
    return (
        _http(of),
        _ingest(of),
        _publishing(of),
        _chain(of),
        _trouble(of),
        _reading(of),
        _relay(of),
        _sinks(of),
        _sink_trouble(of),
        _webhooks(of),
        _retention(of),
        _archive(of),
        _jobs(of),
        _tail(of),
        _exports(of),
    )


def _http(of: Metrics) -> Row:
    seconds, size = of.request_seconds, of.request_bytes
    return Row(
        "HTTP",
        (
            _panel("Requests", "reqps", _observed(seconds, "route", "status")),
            _panel("Time of a request", "s", *_quantiles(seconds, "route")),
            _panel("Bodies received", "Bps", _line(total(size, "route"), size, ("route",))),
            _panel("Refusals by code", "reqps", _rate(of.refused, "code")),
        ),
    )


def _ingest(of: Metrics) -> Row:
    keys = (
        _rate(of.replayed, "region", called="replayed"),
        _rate(of.idempotency_conflicts, "region", called="conflicts"),
        _rate(of.unclaimed, "region", called="unclaimed"),
        _rate(of.failed_sweeps, "region", called="failed sweeps"),
    )
    return Row(
        "Ingest",
        (
            _panel("Events accepted", "cps", _rate(of.accepted, "region")),
            _panel("Idempotency keys", "cps", *keys),
            _panel("Time of a claim", "s", *_quantiles(of.claim_seconds, "region")),
            _panel("Events of a batch", "short", *_quantiles(of.batch_events)),
        ),
    )


def _publishing(of: Metrics) -> Row:
    errors = (_rate(of.publish_errors, "region", "error"), _rate(of.producer_rebuilds, "region", called="producer replaced"))
    return Row(
        "To Kafka",
        (
            _panel("Time to acknowledge", "s", *_quantiles(of.ack_seconds, "region")),
            _panel("Unacknowledged", "bytes", _level(of.unacked_bytes, "region", how="sum")),
            _panel("Errors", "cps", *errors),
            _panel("Requests that wait for their event", "short", _level(of.waiters, how="sum", called="waiting")),
        ),
    )


def _chain(of: Metrics) -> Row:
    way = (
        _rate(of.chained, "region", called="chained"),
        _rate(of.announced, "region", called="announced"),
        _rate(of.reannounced, "region", called="from Postgres"),
    )
    return Row(
        "Chain worker",
        (
            _panel("Chained and announced", "cps", *way),
            _panel("Oldest not yet persisted", "s", _level(of.lag_seconds, "region")),
            _panel("Records not yet persisted", "short", _level(of.lag_offsets, "region", "partition")),
            _panel("Time of a chunk", "s", *_quantiles(of.chunk_seconds, "phase")),
            _panel("Events of a chunk", "short", *_quantiles(of.chunk_events)),
            _panel("Bytes of a chunk", "bytes", *_quantiles(of.chunk_bytes)),
        ),
    )


def _trouble(of: Metrics) -> Row:
    lost = (_rate(of.gaps, "region", called="gaps"), _rate(of.blockers_terminated, "region", called="backends ended"))
    return Row(
        "Chain worker: what went wrong",
        (
            _panel("Parked", "short", _level(of.parked, "region", "partition")),
            _panel("Rejected", "cps", _rate(of.rejected, "region", "reason")),
            _panel(
                "Repeats", "cps", _rate(of.repeats, "region", called="records"), _rate(of.aliased, "region", called="by idempotency key")
            ),
            _panel("Retries", "cps", _rate(of.retries, "region", "sqlstate"), _rate(of.halvings, "region", called="halved")),
            _panel("Frozen or lost owners", "cps", *lost),
        ),
    )


def _reading(of: Metrics) -> Row:
    limits = (_rate(of.rate_limited, "limit", called="refused by"), _rate(of.rate_limit_store_errors, called="store away"))
    return Row(
        "Keys, limits and queries",
        (
            _panel("Keys judged", "cps", _rate(of.key_lookups, "outcome")),
            _panel("Limits", "reqps", *limits),
            _panel("Time of a query", "s", *_quantiles(of.query_seconds, "query", "region")),
            _panel("Queries", "reqps", _observed(of.query_seconds, "query", "region")),
        ),
    )


def _relay(of: Metrics) -> Row:
    sent = (_rate(of.relayed, "region", called="sent"), _rate(of.relay_retries, "region", "error", called="retried"))
    return Row(
        "Audit relay",
        (
            _panel("Entries that wait", "short", _level(of.outbox_entries, "region")),
            _panel("Oldest of them", "s", _level(of.outbox_age, "region")),
            _panel("Sent", "cps", *sent),
        ),
    )


def _sinks(of: Metrics) -> Row:
    return Row(
        "Sinks",
        (
            _panel("Events taken", "cps", _rate(of.sink_events, "sink", "region")),
            _panel("Oldest not yet taken", "s", _level(of.sink_lag_seconds, "sink", "region")),
            _panel("Records not yet taken", "short", _level(of.sink_lag_records, "sink", "region", how="sum")),
            _panel("Partitions compared with Postgres", "short", _level(of.sink_refilling, "sink", "region", how="sum")),
            _panel("Time of a batch", "s", *_quantiles(of.sink_batch_seconds, "sink")),
            _panel("Events of a batch", "short", *_quantiles(of.sink_batch_events, "sink")),
        ),
    )


def _sink_trouble(of: Metrics) -> Row:
    holes = (
        _rate(of.sink_repeats, "sink", "region", called="repeats"),
        _rate(of.sink_refilled, "sink", "region", called="refilled"),
        _rate(of.sink_gaps, "reason", "sink", "region"),
    )
    return Row(
        "Sinks: what went wrong",
        (
            _panel("Partitions that stand still", "short", _level(of.sink_stopped, "sink", "region", how="sum")),
            _panel("Dead letters", "cps", _rate(of.sink_dead, "sink", "region")),
            _panel("Retries", "cps", _rate(of.sink_retries, "sink", "region", "error")),
            _panel("Repeats and holes", "cps", *holes),
        ),
    )


def _webhooks(of: Metrics) -> Row:
    due = (_level(of.webhook_due, "region", called="due"), _level(of.webhook_waiting, "region", how="sum", called="claimed"))
    trouble = (
        _rate(of.webhook_interrupted, "region", called="interrupted"),
        _rate(of.webhook_lost, "region", called="after the lease"),
        _rate(of.webhook_retries, "region", "error", called="retried"),
    )
    return Row(
        "Webhooks",
        (
            _panel(
                "Attempts", "cps", _rate(of.webhook_attempts, "state", "region"), _rate(of.webhook_replayed, "region", called="replayed")
            ),
            _panel("Deliveries to be made", "short", *due),
            _panel("Oldest that is due", "s", _level(of.webhook_due_age, "region")),
            _panel("Time of an attempt", "s", *_quantiles(of.webhook_attempt_seconds, "region")),
            _panel("Requests under way", "short", _level(of.webhook_in_flight, "region", how="sum")),
            _panel("Endpoints that fail", "short", _level(of.webhook_failing_lanes, "region")),
            _panel("Endpoints disabled", "cps", _rate(of.webhook_disabled, "reason", "region")),
            _panel("Trouble of our own", "cps", *trouble),
        ),
    )


def _retention(of: Metrics) -> Row:
    return Row(
        "Retention",
        (
            _panel("Events purged", "cps", _rate(of.purged, "region")),
            _panel("Workspaces not purged any further", "short", _level(of.purge_refused, "region")),
            _panel("Archives expired", "cps", _rate(of.expired, "region")),
            _panel("Archives past their retention and locked", "short", _level(of.expiry_locked, "region")),
            _panel(
                "Restore requests",
                "short",
                _level(of.restore_requests, "state", "region"),
                _level(of.restores_late, "region", called="late"),
            ),
        ),
    )


def _archive(of: Metrics) -> Row:
    events = (_rate(of.archived_events, "region", called="archived"), _rate(of.archive_verified, "region", called="verified"))
    trouble = (
        _rate(of.archive_retries, "region", "error", called="retried"),
        _rate(of.archive_conflicts, "region", called="name taken"),
        _rate(of.archive_refused, "region", called="not as marked"),
    )
    return Row(
        "Archive",
        (
            _panel("Events", "cps", *events),
            _panel("Parts that wait", "short", _level(of.archive_waiting, "region", how="sum")),
            _panel("Time of a part", "s", *_quantiles(of.archive_seconds, "region")),
            _panel("Parts that did not pass verification", "short", _level(of.archive_unverified, "region")),
            _panel("Archive: what went wrong", "cps", *trouble),
        ),
    )


def _jobs(of: Metrics) -> Row:
    return Row(
        "Jobs",
        (
            _panel("Runs", "cps", _rate(of.job_runs, "job", "result", "region")),
            _panel("Time of a run", "s", *_quantiles(of.job_seconds, "job", "region")),
            _panel("Last success", "dateTimeFromNow", _milliseconds(of.job_success_at, "job", "region")),
            _panel("Failed last", "short", _level(of.job_failing, "job", "region")),
            _panel("Due, and nobody runs it", "s", _level(of.job_overdue, "job", "region", how="min")),
        ),
    )


def _tail(of: Metrics) -> Row:
    return Row(
        "Tail",
        (
            _panel("Tails open", "short", _level(of.tail_clients, "region", how="sum")),
            _panel("Events told, each to each", "cps", _rate(of.tail_sent, "region")),
            _panel("From announced to told", "s", *_quantiles(of.tail_lag_seconds, "region")),
            _panel("Tails ended", "cps", _rate(of.tail_ended, "reason", "region")),
            _panel("Pages read to catch up", "cps", _rate(of.tail_pages, "region")),
            _panel("Sent back to Postgres", "cps", _rate(of.tail_restarts, "reason", "region")),
            _panel("Topic can't be read", "short", _level(of.tail_away, "region")),
        ),
    )


def _exports(of: Metrics) -> Row:
    return Row(
        "Exports",
        (
            _panel("Rows exported", "cps", _rate(of.export_rows, "format", "origin", "region")),
            _panel("Exports being downloaded", "short", _level(of.export_downloads, "region", how="sum")),
            _panel("Downloads ended", "cps", _rate(of.export_ended, "status", "reason", "region")),
        ),
    )


def _panel(title: str, unit: str, *lines: Line) -> Panel:
    return Panel(title, unit, lines)


def _line(expr: str, metric: AnyMetric, by: tuple[str, ...], called: str = "") -> Line:
    legend = " ".join([called, *(f"{{{{{label}}}}}" for label in by)]).strip()
    return Line(expr, legend or "all", question_of(metric))


def _rate(counter: Counter, *by: str, called: str = "") -> Line:
    return _line(rate(counter, *by, of=_chosen(by)), counter, by, called)


def _level(gauge: Gauge, *by: str, how: str = "max", called: str = "") -> Line:
    return _line(level(gauge, *by, of=_chosen(by), how=how), gauge, by, called)


def _milliseconds(gauge: Gauge, *by: str) -> Line:
    """Of a time in seconds, as Grafana takes dates."""
    return _line(f"{level(gauge, *by, of=_chosen(by))} * 1000", gauge, by)


def _observed(histogram: Histogram, *by: str) -> Line:
    return _line(per_second(histogram, *by, of=_chosen(by)), histogram, by)


def _quantiles(histogram: Histogram, *by: str) -> tuple[Line, ...]:
    median, tail = (quantile(share, histogram, *by, of=_chosen(by)) for share in (0.5, 0.99))
    return (_line(median, histogram, by, "p50"), _line(tail, histogram, by, "p99"))


def _chosen(by: tuple[str, ...]) -> str:
    return REGION if "region" in by else ""
