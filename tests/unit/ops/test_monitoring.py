"""The dashboard and the rules say what the metric list says, and every alert leads to its line in the runbook."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from ops.monitoring import __main__ as written
from ops.monitoring.alerts import RUNBOOK, alerts
from ops.monitoring.dashboard import COLUMNS, SCHEMA_VERSION, dashboard
from ops.monitoring.promql import AnyMetric, metrics

ROOT = Path(__file__).parents[3]
SCRAPED = {"up": {"job", "instance"}}
"""Prometheus's own series about its targets."""
GRAFANA = {"$__rate_interval": "5m"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def series() -> dict[str, set[str]]:
    """Every series of the metric list with its labels, under the names that expressions use."""
    found = dict(SCRAPED)
    for metric in vars(metrics()).values():
        if not isinstance(metric, AnyMetric):
            continue
        (family,) = metric.describe()
        for suffix in SUFFIXES[family.type]:
            found[family.name + suffix] = {*metric._labelnames, *(["le"] if suffix == "_bucket" else [])}
    return found


def families() -> set[str]:
    return {family.name for family in metrics().registry.collect()}


def panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = dashboard(metrics())["panels"]
    return made


def drawn() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def parsed(expr: str) -> list[Any]:
    """All nodes of an expression. Raises ``ValueError`` when Prometheus would not take it."""
    for name, value in GRAFANA.items():
        expr = expr.replace(name, value)
    nodes: list[Any] = []
    promql_parser.walk(promql_parser.parse(expr), nodes.append)
    return nodes


def selectors(expr: str) -> Iterator[Any]:
    for node in parsed(expr):
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        elif isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector


def labels_used(expr: str) -> set[str]:
    matched = {matcher.name for selector in selectors(expr) for matcher in selector.matchers.matchers}
    grouped = [node.modifier.labels for node in parsed(expr) if isinstance(node, promql_parser.AggregateExpr) and node.modifier]
    return matched.union(*grouped)


EXPRESSIONS = [*drawn(), *(alert.expr for alert in alerts(metrics()))]


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_each_expression_names_series_and_labels_that_exist(expr: str) -> None:
    known = series()
    names = [selector.name for selector in selectors(expr)]
    assert names
    assert labels_used(expr) <= set.intersection(*(known[name] for name in names))


@pytest.mark.parametrize("name", sorted(families()))
def test_each_metric_stands_on_the_dashboard(name: str) -> None:
    """A new metric fails here until it has its panel."""
    assert any(re.match(rf"{name}(_total|_bucket|_sum|_count)?$", selector.name) for expr in drawn() for selector in selectors(expr))


@pytest.mark.parametrize(("file", "text"), written.files().items())
def test_what_is_committed_is_what_the_list_gives(file: str, text: str) -> None:
    """``python -m ops.monitoring`` writes them anew."""
    assert (written.HERE / file).read_text() == text


@pytest.mark.parametrize("alert", alerts(metrics()), ids=lambda alert: alert.name)
def test_each_alert_leads_to_its_line_in_the_runbook(alert: Any) -> None:
    assert f'<a id="{alert.anchor}"></a>' in (ROOT / RUNBOOK).read_text()
    said = set(re.findall(r"\$labels\.(\w+)", alert.summary)) - {"instance"}
    assert said <= labels_used(alert.expr)


def test_the_rule_file_is_one_group_of_alerts_with_names_of_their_own() -> None:
    (group,) = yaml.safe_load(written.files()["prometheus-rules.yaml"])["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert names == [alert.name for alert in alerts(metrics())]
    assert len(set(names)) == len(names)
    assert {rule["labels"]["severity"] for rule in group["rules"]} == {"critical", "warning"}


def test_grafana_takes_the_dashboard() -> None:
    made = json.loads(written.files()["grafana-dashboard.json"])
    assert made["schemaVersion"] == SCHEMA_VERSION
    assert [variable["name"] for variable in made["templating"]["list"]] == ["datasource", "region"]
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in made["panels"] if panel["type"] != "row")


def test_panels_lie_within_the_grid_and_beside_one_another() -> None:
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels())
    ]
    assert all(0 <= x < COLUMNS for cell in cells for x, _ in cell)
    assert not any(one & other for one, other in itertools.combinations(cells, 2))
