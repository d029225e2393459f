"""Metrics of two apps in one process, as one scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample


class MergedRegistry(CollectorRegistry):
    """A registry that also tells what another one holds, adding up equal series.

    Both apps register the same names; two families of one name would be an invalid exposition.
    """

    def __init__(self, other: CollectorRegistry) -> None:
        super().__init__()
        self._other = other

    def collect(self) -> Iterator[Metric]:
        """Every family of both, once."""
        families: dict[str, list[Metric]] = {}
        for family in (*super().collect(), *self._other.collect()):
            families.setdefault(family.name, []).append(family)
        for parts in families.values():
            yield _added(parts)


def _added(parts: list[Metric]) -> Metric:
    first = parts[0]
    result = Metric(first.name, first.documentation, first.type, first.unit)
    result.samples = list(_sum(sample for part in parts for sample in part.samples))
    return result


def _sum(samples: Iterable[Sample]) -> Iterator[Sample]:
    series: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}
    for sample in samples:
        key = (sample.name, frozenset(sample.labels.items()))
        known = series.get(key)
        if known is None:
            series[key] = sample
        elif sample.name.endswith("_created"):
            series[key] = min(known, sample, key=lambda one: one.value)
        else:
            series[key] = known._replace(value=known.value + sample.value)
    yield from series.values()
