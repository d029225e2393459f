"""``python -m ingest``: serve the write path until SIGTERM."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ingest.app import ROUTES, create_app
from ops import log
from ops.serve import serve
from ops.settings import Settings
from ops.traced import traced


def main() -> None:
    """Entry point."""
    settings = Settings()
    log.configure(settings.log_level, "ingest")
    app = traced(create_app(settings, registry=CollectorRegistry()), settings, "hyrelog-ingest", literal=ROUTES)
    serve(app, host=settings.http_host, port=settings.http_port)


if __name__ == "__main__":
    main()
