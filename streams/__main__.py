"""``python -m streams``: run a chain worker until SIGTERM or SIGINT; ends within 30 s whatever is away."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from ops import health, log, tracing
from ops.clock import SystemClock
from ops.collector import calm_collector
from ops.metrics import Metrics
from ops.serve import end_within, serving, stop_on_signal
from ops.settings import Settings
from streams.app import Worker
from streams.region import RegionWorker

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
    stop_on_signal(stop, grace=_GRACE_SECONDS)  # stored offsets make a sudden end free
    metrics = Metrics(CollectorRegistry())
    worker = Worker(settings, metrics=metrics)
    async with AsyncExitStack() as exits:
        tracer = await exits.enter_async_context(tracing.opened(settings, "hyrelog-streams"))
        for region in worker.regions:
            region.tracer = tracer
            await exits.enter_async_context(region)
        app = health.create_app(settings, _health(worker), metrics)
        await exits.enter_async_context(serving(app, host=settings.http_host, port=settings.streams_http_port))
        stopping = asyncio.create_task(stop.wait())
        running = asyncio.create_task(_serve(worker))
        await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
        crashed = running.done()
        if crashed:
            _LOG.critical("the app crashed", error=repr(running.exception() or worker.app.crash_reason))
            end_within(_GRACE_SECONDS, 1)
        await worker.app.stop()
        stopping.cancel()
        running.cancel()
    return 1 if crashed else 0


async def _serve(worker: Worker) -> None:
    await worker.wait_for_kafka()
    await worker.app.start()
    await worker.app.wait_until_stopped()


def _health(worker: Worker) -> health.Health:
    clock = SystemClock()

    def of(region: RegionWorker) -> health.Check:
        async def answers() -> None:
            if clock.monotonic() - region.answered_at > _ANSWER_AGE_SECONDS:
                raise TimeoutError("Kafka or Postgres has not answered for a while")

        return answers

    return health.Health("hyrelog-streams", {f"streams {region.region}": of(region) for region in worker.regions}, clock)


if __name__ == "__main__":
    sys.exit(main())
