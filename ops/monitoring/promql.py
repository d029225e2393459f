"""PromQL out of metrics themselves, so that an expression can't name one that does not exist."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ops.metrics import Metrics

AnyMetric = Counter | Gauge | Histogram
REGION = 'region=~"$region"'
"""The dashboard's choice."""
WINDOW = "$__rate_interval"


def metrics() -> Metrics:
    """The metric list, on a registry of its own."""
    return Metrics(CollectorRegistry())


def name_of(metric: AnyMetric) -> str:
    """The family's name, as it is registered."""
    (family,) = metric.describe()
    return family.name


def question_of(metric: AnyMetric) -> str:
    """What it answers, as the metric list says."""
    (family,) = metric.describe()
    return family.documentation


def level(gauge: Gauge, *by: str, of: str = "", how: str = "max") -> str:
    """A gauge over all processes: the worst one, or with ``how="sum"`` all together."""
    return _grouped(how, by, f"{name_of(gauge)}{_braces(of)}")


def rate(counter: Counter, *by: str, of: str = "", window: str = WINDOW) -> str:
    """A counter's events a second."""
    return _grouped("sum", by, f"rate({name_of(counter)}_total{_braces(of)}[{window}])")


def increase(counter: Counter, *by: str, of: str = "", window: str = "15m") -> str:
    """How far a counter moved within the window."""
    return _grouped("sum", by, f"increase({name_of(counter)}_total{_braces(of)}[{window}])")


def moved(counter: Counter, *by: str, of: str = "", window: str = "15m") -> str:
    """Whether a counter moved within the window, its very first count included.

    A series begins with its first event, at 1: of that, ``increase`` sees nothing.
    """
    name = f"{name_of(counter)}_total{_braces(of)}"
    born = _grouped("sum", by, f"{name} unless {name} offset {window}")
    return f"{increase(counter, *by, of=of, window=window)} > 0 or {born} > 0"


def quantile(share: float, histogram: Histogram, *by: str, of: str = "", window: str = WINDOW) -> str:
    """A quantile of what was observed within the window."""
    return f"histogram_quantile({share}, {_grouped('sum', ('le', *by), _observed(histogram, 'bucket', of, window))})"


def per_second(histogram: Histogram, *by: str, of: str = "", window: str = WINDOW) -> str:
    """Observations a second."""
    return _grouped("sum", by, _observed(histogram, "count", of, window))


def total(histogram: Histogram, *by: str, of: str = "", window: str = WINDOW) -> str:
    """The sum of what was observed, a second."""
    return _grouped("sum", by, _observed(histogram, "sum", of, window))


def _observed(histogram: Histogram, suffix: str, of: str, window: str) -> str:
    return f"rate({name_of(histogram)}_{suffix}{_braces(of)}[{window}])"


def _grouped(how: str, by: tuple[str, ...], inner: str) -> str:
    return f"{how} by ({', '.join(by)}) ({inner})" if by else f"{how}({inner})"


def _braces(of: str) -> str:
    return f"{{{of}}}" if of else ""
