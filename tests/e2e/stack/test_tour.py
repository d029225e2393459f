"""The tour of ops/docs/tour.md, walked by its own commands: from a new company to an archive that was cold and is again."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support.commands import ROOT, Shell, stack_environ, walk
from tests.support.stack import LocalStack

pytestmark = [
    pytest.mark.skipif(os.environ.get("HYRELOG_TEST_BACKEND") == "testcontainers", reason="the tour is of the embedded stack"),
    pytest.mark.skipif(shutil.which("jq") is None, reason="the page's commands use jq"),
]

PAGE = ROOT / "ops/docs/tour.md"


def test_the_tour(stack: LocalStack) -> None:
    """What each block has to show stands beside it, for readers not to see."""
    told = []
    with Shell(stack_environ(stack.state)) as shell:
        shell.set(RESTORE_SIMULATED_SECONDS="1")
        for _block, output in walk(PAGE, shell, {}):
            told.append(output)
    audit = told[-1]
    for action, actor in (("restore.request", "ada"), ("archive.list", "mia"), ("restore.complete", "restore-status-checker")):
        assert any(action in line and actor in line for line in audit.splitlines()), f"{action} by {actor} is not in {audit}"
    assert '{"action":"restore.request","actor":"mia@example.com","reason":"The role MEMBER may not do that."}' in audit
