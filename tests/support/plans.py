"""What PostgreSQL means to do, read out of ``EXPLAIN (FORMAT JSON)``."""

from __future__ import annotations

from typing import Any


def scans(plan: Any) -> list[tuple[str, str]]:
    """The kinds of scans and their tables, anywhere in a plan."""
    if isinstance(plan, list):
        return [found for each in plan for found in scans(each)]
    if not isinstance(plan, dict):
        return []
    own = [(plan["Node Type"], plan["Relation Name"])] if "Scan" in plan.get("Node Type", "") and "Relation Name" in plan else []
    return own + scans(list(plan.values()))
