"""Log lines are JSON, whoever writes them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from ops import log


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    sys.excepthook = sys.__excepthook__
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


def last_line(captured: pytest.CaptureFixture[str]) -> dict[str, object]:
    line: dict[str, object] = json.loads(captured.readouterr().err.splitlines()[-1])
    return line


def test_our_lines_hold_fields_service_and_trace_id(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "api")
    log.bind_trace("ab" * 16)
    log.get("some.module").warning("parked", region="EU", partition=3)
    line = last_line(capsys)
    assert {
        "event": "parked",
        "region": "EU",
        "partition": 3,
        "service": "api",
        "level": "warning",
        "trace_id": "ab" * 16,
    }.items() <= line.items()


def test_libraries_lines_are_json_too_with_the_exception_inside(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "worker")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed: %s", "x")
    line = last_line(capsys)
    assert line["event"] == "failed: x"
    assert "ValueError: broken" in str(line["exception"])


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("WARNING", "api")
    log.get("some.module").info("quiet")
    logging.getLogger("faust").info("quiet")
    assert capsys.readouterr().err == ""


def test_what_ends_a_process_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("WARNING", "hyrelog")
    try:
        raise RuntimeError("no way on")
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    line = last_line(capsys)
    assert (line["event"], line["level"], line["service"]) == ("the process ends", "critical", "hyrelog")
    assert "RuntimeError: no way on" in str(line["exception"])
