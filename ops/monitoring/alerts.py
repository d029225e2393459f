"""Alert rules: what an operator is called for, each with its place in the runbook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from ops.metrics import Metrics
from ops.monitoring.promql import increase, level, moved, per_second, quantile, rate

RUNBOOK = "ops/docs/operations.md"
STEPS = {
    "kafka-refuses": "broker-lost",
    "tail-away": "broker-lost",
    "parked": "broker-lost",
    "keys-unclaimed": "database-lost",
    "keys-unavailable": "database-lost",
    "chain-late": "lag-grows",
    "audit-late": "lag-grows",
    "sink-late": "lag-grows",
    "webhooks-late": "lag-grows",
    "rejected": "poison-events",
    "sink-stopped": "poison-events",
    "sink-dead": "poison-events",
    "keys-tried": "key-leaked",
    "archive-not-verified": "restore-from-backup",
}
"""Pages of ops/docs/runbooks, by anchors of the alerts that they are for."""
CRITICAL, WARNING = "critical", "warning"
"""Critical: events may be refused or lost unless somebody acts now. Warning: something is slow, late or odd."""


class Alert(NamedTuple):
    """One rule: it fires when ``expr`` has held for so long. ``anchor`` is its line in the runbook."""

    name: str
    expr: str
    lasting: str
    severity: str
    summary: str
    anchor: str


def alerts(of: Metrics) -> tuple[Alert, ...]:
    """All rules."""
    return (
        *_ingest(of),
        *_chain(of),
        *_reading(of),
        *_relay(of),
        *_sinks(of),
        *_webhooks(of),
        *_archive(of),
        *_retention(of),
        *_jobs(of),
        *_tail(of),
        *_exports(of),
    )


def _ingest(of: Metrics) -> Iterator[Alert]:
    yield Alert("HyrelogDown", 'up{job="hyrelog"} == 0', "2m", CRITICAL, "{{ $labels.instance }} does not answer", "process-down")
    answered = per_second(of.request_seconds, window="5m")
    failed = per_second(of.request_seconds, of='status=~"5.."', window="5m")
    yield Alert(
        "HyrelogRequestsFail", f"{failed} / {answered} > 0.01", "5m", CRITICAL, "More than 1 % of requests end with a 5xx", "requests-fail"
    )
    yield Alert(
        "HyrelogKafkaRefuses",
        f"{rate(of.publish_errors, 'region', window='5m')} > 0",
        "5m",
        CRITICAL,
        "Kafka of {{ $labels.region }} does not take records",
        "kafka-refuses",
    )
    yield Alert(
        "HyrelogProducerReplaced",
        f"{increase(of.producer_rebuilds, 'region')} > 3",
        "0m",
        WARNING,
        "Producers of {{ $labels.region }} are stuck again and again",
        "kafka-refuses",
    )
    yield Alert(
        "HyrelogKeysUnclaimed",
        f"{rate(of.unclaimed, 'region', window='5m')} > 0",
        "10m",
        WARNING,
        "Keyed events of {{ $labels.region }} are accepted without a claim",
        "keys-unclaimed",
    )


def _chain(of: Metrics) -> Iterator[Alert]:
    place = "{{ $labels.region }} partition {{ $labels.partition }}"
    yield Alert(
        "HyrelogPartitionParked",
        f"{level(of.parked, 'region', 'partition')} == 1",
        "0m",
        CRITICAL,
        f"{place} waits for a decision",
        "parked",
    )
    lag = level(of.lag_seconds, "region")
    yield Alert("HyrelogChainLate", f"{lag} > 60", "5m", WARNING, "Events of {{ $labels.region }} are persisted late", "chain-late")
    yield Alert("HyrelogChainStands", f"{lag} > 900", "5m", CRITICAL, "Events of {{ $labels.region }} are not persisted", "chain-late")
    yield Alert(
        "HyrelogEventsRejected",
        moved(of.rejected, "region", "reason", of='reason!="IDEMPOTENCY_CONFLICT"'),
        "0m",
        WARNING,
        "Accepted events of {{ $labels.region }} could not be stored: {{ $labels.reason }}",
        "rejected",
    )
    yield Alert(
        "HyrelogChunksRetried",
        f"{rate(of.retries, 'region', 'sqlstate', window='5m')} > 0.2",
        "10m",
        WARNING,
        "Chunks of {{ $labels.region }} are tried again: {{ $labels.sqlstate }}",
        "chain-late",
    )
    yield Alert(
        "HyrelogOwnersLost",
        f"{increase(of.gaps, 'region')} + {increase(of.blockers_terminated, 'region')} > 5",
        "0m",
        WARNING,
        "Workers of {{ $labels.region }} freeze or lose partitions",
        "owners-lost",
    )


def _reading(of: Metrics) -> Iterator[Alert]:
    yield Alert(
        "HyrelogQueriesSlow",
        f"{quantile(0.99, of.query_seconds, 'region', window='10m')} > 1",
        "10m",
        WARNING,
        "One query in a hundred of {{ $labels.region }} takes over a second",
        "queries-slow",
    )
    away = increase(of.key_lookups, of='outcome=~"stale|unavailable"', window="5m")
    yield Alert("HyrelogKeysUnavailable", f"{away} > 0", "5m", CRITICAL, "API keys can't be looked up", "keys-unavailable")
    yield Alert(
        "HyrelogKeysTried",
        f"""{rate(of.rate_limited, of='limit="address"', window="5m")} > 1""",
        "10m",
        WARNING,
        "Somebody tries keys",
        "keys-tried",
    )
    yield Alert(
        "HyrelogLimitsApart",
        f"{increase(of.rate_limit_store_errors)} > 0",
        "5m",
        WARNING,
        "Each process counts rate limits alone",
        "limits-apart",
    )


def _relay(of: Metrics) -> Iterator[Alert]:
    yield Alert(
        "HyrelogAuditLate",
        f"{level(of.outbox_age, 'region')} > 300",
        "5m",
        WARNING,
        "Audit entries of {{ $labels.region }} are not sent",
        "audit-late",
    )


def _sinks(of: Metrics) -> Iterator[Alert]:
    sink = "{{ $labels.sink }} of {{ $labels.region }}"
    yield Alert(
        "HyrelogSinkStopped",
        f"{level(of.sink_stopped, 'sink', 'region')} > 0",
        "0m",
        CRITICAL,
        f"{sink} stopped at too many dead letters",
        "sink-stopped",
    )
    yield Alert("HyrelogSinkLate", f"{level(of.sink_lag_seconds, 'sink', 'region')} > 60", "10m", WARNING, f"{sink} is behind", "sink-late")
    yield Alert(
        "HyrelogSinkDeadLetters",
        moved(of.sink_dead, "sink", "region"),
        "0m",
        WARNING,
        f"{sink} could not take events",
        "sink-dead",
    )
    jumped = moved(of.sink_gaps, "sink", "region", "reason", of='reason!="first_seen"')
    yield Alert("HyrelogSinkGaps", jumped, "0m", WARNING, f"{sink} found {{{{ $labels.reason }}}}", "sink-gaps")


def _webhooks(of: Metrics) -> Iterator[Alert]:
    yield Alert(
        "HyrelogWebhooksLate",
        f"{level(of.webhook_due_age, 'region')} > 120",
        "5m",
        WARNING,
        "Deliveries of {{ $labels.region }} are due and not made",
        "webhooks-late",
    )
    yield Alert(
        "HyrelogWebhooksRetried",
        f"{rate(of.webhook_retries, 'region', 'error', window='5m')} > 0.1",
        "10m",
        WARNING,
        "Dispatchers of {{ $labels.region }} can't go on: {{ $labels.error }}",
        "webhooks-retried",
    )
    yield Alert(
        "HyrelogWebhookSecrets",
        moved(of.webhook_retries, "region", of='error="Unsealable"'),
        "0m",
        CRITICAL,
        "Dispatchers of {{ $labels.region }} can't open webhooks' secrets",
        "webhook-secrets",
    )
    yield Alert(
        "HyrelogWebhooksInterrupted",
        f"{increase(of.webhook_interrupted, 'region')} + {increase(of.webhook_lost, 'region')} > 100",
        "0m",
        WARNING,
        "Dispatchers of {{ $labels.region }} die or freeze in the midst of deliveries",
        "webhooks-interrupted",
    )


def _retention(of: Metrics) -> Iterator[Alert]:
    yield Alert(
        "HyrelogPurgeRefused",
        f"{level(of.purge_refused, 'region')} > 0",
        "0m",
        CRITICAL,
        "Workspaces of {{ $labels.region }} are not purged any further: rows, tiles or archive are not what they should be",
        "purge-refused",
    )
    yield Alert(
        "HyrelogRestoreLate",
        f"{level(of.restores_late, 'region')} > 0",
        "0m",
        WARNING,
        "Restorations of {{ $labels.region }} take twice as long as they should",
        "restore-late",
    )


def _archive(of: Metrics) -> Iterator[Alert]:
    yield Alert(
        "HyrelogArchiveNotVerified",
        f"{level(of.archive_unverified, 'region')} > 0",
        "0m",
        CRITICAL,
        "Archived parts of {{ $labels.region }} are not what was written",
        "archive-not-verified",
    )
    yield Alert(
        "HyrelogArchiveConflict",
        moved(of.archive_conflicts, "region"),
        "0m",
        CRITICAL,
        "Something that is not ours stands in the bucket of {{ $labels.region }} under the name of a part",
        "archive-conflict",
    )
    yield Alert(
        "HyrelogArchiveRefused",
        moved(of.archive_refused, "region"),
        "0m",
        CRITICAL,
        "Events of {{ $labels.region }} are not as they were marked, and are not archived",
        "archive-refused",
    )
    yield Alert(
        "HyrelogArchiveRetried",
        f"{rate(of.archive_retries, 'region', 'error', window='5m')} > 0.05",
        "15m",
        WARNING,
        "The archive sink of {{ $labels.region }} can't go on: {{ $labels.error }}",
        "archive-retried",
    )


def _jobs(of: Metrics) -> Iterator[Alert]:
    job = "{{ $labels.job }} of {{ $labels.region }}"
    yield Alert("HyrelogJobFailed", f"{level(of.job_failing, 'region', 'job')} > 0", "0m", WARNING, f"{job} failed", "job-failed")
    overdue = f"{level(of.job_overdue, 'region', 'job', how='min')} > 3600"
    yield Alert("HyrelogJobOverdue", overdue, "0m", WARNING, f"{job} is due, and nobody runs it", "job-overdue")
    yield Alert(
        "HyrelogJobLost",
        moved(of.job_runs, "region", "job", of='result="LOST"'),
        "0m",
        WARNING,
        f"{job} was taken over from a process that was frozen",
        "job-overdue",
    )


def _tail(of: Metrics) -> Iterator[Alert]:
    away, holes = f"{level(of.tail_away, 'region')} > 0", moved(of.tail_restarts, "region", "reason", of='reason!="consumer"')
    yield Alert("HyrelogTailAway", away, "2m", WARNING, "Tails of {{ $labels.region }} can't read the events topic", "tail-away")
    yield Alert("HyrelogTailHoles", holes, "0m", WARNING, "Tails of {{ $labels.region }} met {{ $labels.reason }}", "tail-holes")


def _exports(of: Metrics) -> Iterator[Alert]:
    yield Alert(
        "HyrelogExportsBroken",
        moved(of.export_ended, "region", "reason", of='reason=~"ARCHIVE_UNREADABLE|CHAIN_BROKEN|INTERNAL_ERROR"'),
        "0m",
        CRITICAL,
        "Exports of {{ $labels.region }} are broken off: {{ $labels.reason }}",
        "exports-broken",
    )


def rules(of: Metrics) -> str:
    """The rule file. Its strings are quoted as JSON, which is YAML too."""
    lines = ["# Made by `python -m ops.monitoring` from ops/monitoring/alerts.py.", "groups:", "- name: hyrelog", "  rules:"]
    for alert in alerts(of):
        lines += [
            f"  - alert: {alert.name}",
            f"    expr: {json.dumps(alert.expr)}",
            f"    for: {alert.lasting}",
            f"    labels: {{severity: {alert.severity}}}",
            "    annotations:",
            f"      summary: {json.dumps(alert.summary)}",
            f"      runbook: {RUNBOOK}#{alert.anchor}",
        ]
        if alert.anchor in STEPS:
            lines.append(f"      steps: ops/docs/runbooks/{STEPS[alert.anchor]}.md")
    return "\n".join(lines) + "\n"
