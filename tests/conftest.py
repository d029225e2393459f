"""What holds for the whole suite: its order, its lanes, and which modules took longest."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

import pytest
import structlog

_SLOWEST = 10
_TOGETHER = ("tests/e2e", "tests/faults")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reverse", action="store_true", help="run the tests in reverse order: none may need what another one left")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Assign each test to a group that pytest-xdist runs in one process, the groups that need a whole stack first.

    Those are few and mostly wait: within a folder one stack ends before the next one starts. Every other module is a group of
    its own, so that all processes have work to the end.
    """
    if config.option.reverse:
        items.reverse()
    groups = {item: _group(item.nodeid.partition("::")[0]) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: groups[item] not in _TOGETHER)


def _group(module: str) -> str:
    return next((folder for folder in _TOGETHER if module.startswith(f"{folder}/")), module)


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
