"""Object stores other than the local one: moto's server, which has what that lacks, and none at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

from ops.objects import ensure_buckets
from ops.settings import Settings


@contextmanager
def moto_settings(settings: Settings) -> Iterator[Settings]:
    """The same settings with an S3 store of moto's, in which their buckets are made."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        moved = settings.model_copy(update={"s3_endpoint": f"http://{host}:{port}", "restore_simulated_seconds": None})
        # What earlier servers of this process had, this one has too.
        with urlopen(Request(f"{moved.s3_endpoint}/moto-api/reset", method="POST")):
            ensure_buckets(moved)
        yield moved
    finally:
        server.stop()


def settings_of_nothing(settings: Settings) -> Settings:
    """The same with a store that nobody runs."""
    return settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1", "restore_simulated_seconds": None})
