"""The dashboard as Grafana's JSON (schema version 41; imported by hand or provisioned from a file)."""

from __future__ import annotations

from typing import Any

from ops.metrics import Metrics
from ops.monitoring.panels import Line, Panel, rows

SCHEMA_VERSION = 41
COLUMNS = 24
_ACROSS = 2
_WIDTH, _HEIGHT, _HEADING = COLUMNS // _ACROSS, 8, 1
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(of: Metrics) -> dict[str, Any]:
    """The whole dashboard; the data source and the regions are its variables."""
    return {
        "uid": "hyrelog",
        "title": "HyreLog",
        "tags": ["hyrelog"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_source_variable(), _region_variable()]},
        "panels": _panels(of),
    }


def _panels(of: Metrics) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    top = 0
    for row in rows(of):
        made.append({"id": len(made) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": _at(top)})
        top += _HEADING
        for number, panel in enumerate(row.panels):
            down, across = divmod(number, _ACROSS)
            made.append(_series(len(made) + 1, panel, x=across * _WIDTH, y=top + down * _HEIGHT))
        top += -(-len(row.panels) // _ACROSS) * _HEIGHT
    return made


def _at(top: int) -> dict[str, int]:
    return {"x": 0, "y": top, "w": COLUMNS, "h": _HEADING}


def _series(number: int, panel: Panel, *, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": " ".join(dict.fromkeys(line.question for line in panel.lines)),
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [_target(chr(ord("A") + index), line) for index, line in enumerate(panel.lines)],
    }


def _target(letter: str, line: Line) -> dict[str, Any]:
    return {"refId": letter, "datasource": _SOURCE, "expr": line.expr, "legendFormat": line.legend}


def _source_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _region_variable() -> dict[str, Any]:
    return {
        "name": "region",
        "label": "Region",
        "type": "custom",
        "query": "US,EU,UK,AU",
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
