"""Two registries in one scrape."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ops.local.merged import MergedRegistry


def _filled(registry: CollectorRegistry, amount: int) -> None:
    Counter("hyrelog_requests", "How many?", ("code",), registry=registry).labels("200").inc(amount)
    Histogram("hyrelog_seconds", "How long?", buckets=(1,), registry=registry).observe(amount)


def test_equal_series_are_added_up_and_each_family_is_told_once() -> None:
    """A second TYPE line of one name would make Prometheus refuse the whole scrape."""
    ingest = CollectorRegistry()
    api = MergedRegistry(ingest)
    _filled(ingest, 2)
    _filled(api, 3)
    Gauge("hyrelog_waiters", "Who waits?", registry=ingest).set(7)

    text = generate_latest(api).decode()
    values = {(s.name, s.labels.get("le")): s.value for family in text_string_to_metric_families(text) for s in family.samples}

    assert text.count("# TYPE hyrelog_requests_total ") == 1
    assert values[("hyrelog_requests_total", None)] == 5
    assert values[("hyrelog_seconds_count", None)] == 2
    assert values[("hyrelog_seconds_bucket", "1.0")] == 0
    assert values[("hyrelog_seconds_bucket", "+Inf")] == 2
    assert values[("hyrelog_waiters", None)] == 7
