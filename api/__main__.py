"""``python -m api``: serve the query API until SIGTERM."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from api.app import create_app
from ops import log
from ops.serve import serve
from ops.settings import Settings


def main() -> None:
    """Entry point."""
    settings = Settings()
    log.configure(settings.log_level, "api")
    serve(create_app(settings, registry=CollectorRegistry()), host=settings.http_host, port=settings.http_port)


if __name__ == "__main__":
    main()
