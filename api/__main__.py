"""``python -m api``: serve the query API until SIGTERM."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from api.app import create_app
from ops import log
from ops.serve import serve
from ops.settings import Settings
from ops.traced import traced


def main() -> None:
    """Entry point."""
    settings = Settings()
    log.configure(settings.log_level, "api")
    stopping = asyncio.Event()
    app = traced(create_app(settings, registry=CollectorRegistry(), stopping=stopping), settings, "hyrelog-api")
    serve(app, host=settings.http_host, port=settings.http_port, stopping=stopping)


if __name__ == "__main__":
    main()
