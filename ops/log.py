"""Logs: one JSON object a line on stderr, libraries' lines included, with the trace id of the request at hand."""

from __future__ import annotations

import logging
import logging.config
import sys
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ops import failures

# Loggers of libraries that talk too much at our level, or say again what the access log says.
_QUIET = {
    "aiokafka": "WARNING",
    "faust": "WARNING",
    "mode": "WARNING",
    "uvicorn": "WARNING",
    "uvicorn.access": "CRITICAL",
    "asyncio": "WARNING",
    "opentelemetry": "WARNING",
}


def configure(level: str, service: str) -> None:
    """Send everything this process logs to stderr as JSON. Called once, at its entry point; ``service`` names it in each line."""

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet in _QUIET.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(logging.getLevelName(quiet), root.level))
    logging.captureWarnings(capture=True)
    sys.excepthook = _note_end


def _note_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the process is a line like all others."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger(__name__).critical("the process ends", exc_info=(kind, error, trace))


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger by the name of its module. Lines take fields: ``log.warning("parked", region="EU", partition=3)``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bind_trace(trace_id: str) -> None:
    """Put the trace id on every further line of this task."""
    structlog.contextvars.bind_contextvars(trace_id=trace_id)


def _formatter(foreign: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=foreign,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(failures.text_of),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
    )


def _dumps(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode(errors="replace")
