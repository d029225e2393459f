"""What holds for the whole suite: its order, its lanes, and which modules took longest."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling

_SLOWEST = 10
_STACK_LANES = ("tests/e2e", "tests/faults")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reverse", action="store_true", help="run the tests in reverse order: none may need what another one left")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests that need a whole stack first."""
    if config.option.reverse:
        items.reverse()
    items.sort(key=lambda item: _lane(item.nodeid) not in _STACK_LANES)


class Lanes(LoadScopeScheduling):
    """Gives each process whole lanes: a folder of stacks, or any other module.

    The folders mostly wait, and within one a stack ends before the next one starts. The modules are many, so that all processes
    have work to the end. ``--dist loadgroup`` would be the plugin's own way: with pytest 9.2, pytest-xdist 3.8 writes a test's group
    where pytest no longer reads it, and groups nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _lane(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    return Lanes(config, log)


def _lane(nodeid: str) -> str:
    module = nodeid.partition("::")[0]
    return next((folder for folder in _STACK_LANES if module.startswith(f"{folder}/")), module)


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
    # Where a process of ours logs to: what commands print in the tests' own process is theirs alone. And with plain tracebacks:
    # to draw one with all its locals takes the event loop seconds.
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist reports to the process that started it
        config.pluginmanager.register(SlowestModules())
