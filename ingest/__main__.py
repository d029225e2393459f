"""``python -m ingest``: serve the write path until SIGTERM."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ingest.app import create_app
from ops import log
from ops.serve import serve
from ops.settings import Settings


def main() -> None:
    """Entry point."""
    settings = Settings()
    log.configure(settings.log_level, "ingest")
    serve(create_app(settings, registry=CollectorRegistry()), host=settings.http_host, port=settings.http_port)


if __name__ == "__main__":
    main()
