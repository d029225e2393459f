"""What the runbooks name is there: alerts, metrics, pages, places in them. tests/e2e/recovery/test_runbooks.py runs their commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.monitoring.alerts import STEPS, alerts
from ops.monitoring.promql import metrics
from tests.support.commands import blocks

DOCS = Path(__file__).parents[3] / "ops/docs"
PAGES = sorted((DOCS / "runbooks").glob("*.md"))
FEWEST_BLOCKS = {"README": 3}
_LINK = re.compile(r"\[[^\]]+\]\((?P<file>[^)#:]*)(?:#(?P<anchor>[^)]+))?\)")


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings, and those that are written out."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', text))


def _metric_names() -> set[str]:
    """With the endings that series have."""
    names = {family.name for family in metrics().registry.collect()}
    return names | {f"{name}_total" for name in names}


def test_there_is_one_for_each_of_what_may_happen() -> None:
    named = {"broker-lost", "database-lost", "region-lost", "lag-grows", "poison-events", "key-leaked", "restore-from-backup"}
    assert {page.stem for page in PAGES} == named | {"README"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_alert_and_metric_of_a_page_exists(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"\bHyrelog\w+", text)) <= {alert.name for alert in alerts(metrics())}
    assert set(re.findall(r"`(hyrelog_(?!us|eu)\w+)`", text)) <= _metric_names()


@pytest.mark.parametrize("page", [*PAGES, DOCS / "operations.md"], ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for found in _LINK.finditer(page.read_text()):
        target = (page.parent / found["file"]).resolve() if found["file"] else page
        assert target.exists(), found[0]
        assert not found["anchor"] or target.suffix != ".md" or found["anchor"] in _anchors(target), found[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_says_what_an_operator_asks(page: Path) -> None:
    text = page.read_text()
    assert len(blocks(page)) >= FEWEST_BLOCKS.get(page.stem, 6)
    if page.stem != "README":
        assert all(words in text for words in ("How it looks", "hat customers see", "is over when", "## What not to do", "## Afterwards"))
        assert "hyrelog verify" in text


@pytest.mark.parametrize(("anchor", "page"), STEPS.items())
def test_the_page_of_an_alert_names_it(anchor: str, page: str) -> None:
    text = (DOCS / f"runbooks/{page}.md").read_text()
    assert any(alert.name in text for alert in alerts(metrics()) if alert.anchor == anchor)
