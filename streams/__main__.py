"""``python -m streams``: run a chain worker until SIGTERM or SIGINT; ends within 30 s whatever is away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack

import uvicorn
from prometheus_client import CollectorRegistry

from ops import health, log
from ops.clock import SystemClock
from ops.collector import calm_collector
from ops.metrics import Metrics
from ops.settings import Settings
from streams.app import Worker

_LOG = log.get(__name__)
_GRACE_SECONDS = 20.0
_ANSWER_AGE_SECONDS = 15.0


def main() -> int:
    """Entry point. Returns the exit code: 0 after a signal, 1 when the app crashed."""
    settings = Settings()
    log.configure(settings.log_level, "streams")
    calm_collector()
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    metrics = Metrics(CollectorRegistry())
    worker = Worker(settings, metrics=metrics)
    async with AsyncExitStack() as exits:
        for region in worker.regions:
            await exits.enter_async_context(region)
        await exits.enter_async_context(_Serving(settings, worker, metrics))
        stopping = asyncio.create_task(stop.wait())
        running = asyncio.create_task(_serve(worker))
        await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
        crashed = running.done()
        if crashed:
            _LOG.critical("the app crashed", error=repr(running.exception() or worker.app.crash_reason))
            _arm_exit(1)
        await worker.app.stop()
        stopping.cancel()
        running.cancel()
    return 1 if crashed else 0


async def _serve(worker: Worker) -> None:
    await worker.wait_for_kafka()
    await worker.app.start()
    await worker.app.wait_until_stopped()


def _on_signal(stop: asyncio.Event) -> None:
    stop.set()
    _arm_exit(0)


def _arm_exit(code: int) -> None:
    """End the process even if something that is away keeps the graceful way waiting: stored offsets make that free."""
    timer = threading.Timer(_GRACE_SECONDS, os._exit, (code,))
    timer.daemon = True
    timer.start()


class _Serving:
    """Health and metrics over HTTP, in the worker's own loop."""

    def __init__(self, settings: Settings, worker: Worker, metrics: Metrics) -> None:
        clock = SystemClock()

        def check(answered_at: float) -> None:
            if clock.monotonic() - answered_at > _ANSWER_AGE_SECONDS:
                raise TimeoutError("Kafka or Postgres has not answered for a while")

        def of(index: int) -> health.Check:
            async def answers() -> None:
                check(worker.regions[index].answered_at)

            return answers

        checks = {f"streams {region.region}": of(index) for index, region in enumerate(worker.regions)}
        app = health.create_app(settings, health.Health("hyrelog-streams", checks, clock), metrics)
        config = uvicorn.Config(app, host=settings.http_host, port=settings.streams_http_port, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._server._serve())  # `serve` would take over the signal handlers

    async def __aexit__(self, *_exc: object) -> None:
        self._server.should_exit = True
        await asyncio.gather(self._task, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
