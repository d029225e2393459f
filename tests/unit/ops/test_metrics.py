"""Metrics: well-formed names, and a question each."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry

from ops.metrics import Metrics


def test_each_metric_is_named_by_part_and_unit_and_answers_a_question() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    for family in registry.collect():
        assert re.fullmatch(r"hyrelog_(http|ingest|streams|auth|api|relay|sink|webhook|archive|job|export|tail)_[a-z_]+", family.name)
        assert family.documentation.endswith("?")


def test_one_registry_takes_them_once() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)
