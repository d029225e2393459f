"""What holds for the whole suite: its order, its lanes, and which modules took longest."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

import pytest
import structlog

_SLOWEST = 10
_WHOLE_STACKS = ("tests/e2e/", "tests/faults/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reverse", action="store_true", help="run the tests in reverse order: none may need what another one left")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Assign each test to a group that pytest-xdist keeps in one process.

    Whole stacks are one group: each folder's stack ends before the next one's starts, and no two compete for the cores.
    Every other module is a group of its own, so that both processes have work to the end.
    """
    for item in items:
        module = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("stacks" if module.startswith(_WHOLE_STACKS) else module))
    if config.option.reverse:
        items.reverse()
    items.sort(key=lambda item: not item.nodeid.startswith(_WHOLE_STACKS))


class SlowestModules:
    """Adds up what each module took, set-up and teardown included."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"{_SLOWEST} slowest modules")
        for line in self._lines():
            terminalreporter.write_line(line)

    def _lines(self) -> Sequence[str]:
        slowest = sorted(self._seconds.items(), key=lambda each: -each[1])[:_SLOWEST]
        return [f"{seconds:7.1f} s  {module}" for module, seconds in slowest]


def pytest_configure(config: pytest.Config) -> None:
    # Where a process of ours logs to: what commands print in the tests' own process is theirs alone.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist reports to the process that started it
        config.pluginmanager.register(SlowestModules())
