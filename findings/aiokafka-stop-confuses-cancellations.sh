#!/usr/bin/env bash
# aiokafka's stop() raises a CancelledError that nobody asked for, and keeps one that somebody did.
#
# Expected: stop() ends a client in any state after start(), and a task that is cancelled while it waits in stop() ends cancelled.
# Seen: (1) stop() directly behind start() raises CancelledError: it cancels tasks that never had a turn, and waits for them
#   unguarded. (2) stop() waits for its own tasks under suppress(CancelledError): a cancellation of the caller that arrives
#   then is gone, and the caller goes on as if nothing had been.
# Matters: (1) unwinds a healthy service as though it were shut down: CancelledError passes `except Exception`. (2) a shutdown
#   by task.cancel() or a time limit by asyncio.timeout() waits for ever for a task that has lost its cancellation.
# HyreLog: ops/kafka.py gives the tasks a turn behind start(); ops/publish.py cancels its tasks again until they are done;
#   sinks/region.py stops clients in tasks of their own.

. "$(dirname "$0")/lib.sh"
python_packages aiokafka==0.14.0
start_kafka

seen=$("$python" - 2>/dev/null <<'PY'
import asyncio
import os

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient


async def stop_behind_start(turns):
    consumer = AIOKafkaConsumer(bootstrap_servers=os.environ["KAFKA"])
    await consumer.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    try:
        await consumer.stop()
        return "stopped"
    except asyncio.CancelledError:
        return f"CancelledError, with {asyncio.current_task().cancelling()} cancellations asked for"


async def cancelled_in(client, stop):
    went_on = asyncio.Event()

    async def service():
        await stop()
        went_on.set()
        await asyncio.sleep(3600)

    await client.start()
    await asyncio.sleep(0.5)
    task = asyncio.create_task(service())
    await asyncio.sleep(0)  # it waits in stop() now
    task.cancel()
    await asyncio.wait([task], timeout=10)
    if task.cancelled():
        return "cancelled"
    return "goes on behind it" if went_on.is_set() else "not over"


async def main():
    print("consumer.stop() directly behind start():", await stop_behind_start(0))
    print("consumer.stop() a turn of the loop later:", await stop_behind_start(1))
    consumer = AIOKafkaConsumer(bootstrap_servers=os.environ["KAFKA"])
    print("a task cancelled while it waits in consumer.stop():", await cancelled_in(consumer, consumer.stop))
    admin = AIOKafkaAdminClient(bootstrap_servers=os.environ["KAFKA"])
    print("a task cancelled while it waits in admin.close():", await cancelled_in(admin, admin.close))


asyncio.run(asyncio.wait_for(main(), 100))
PY
)
conclude "$seen" <<'EOF'
consumer.stop() directly behind start(): CancelledError, with 0 cancellations asked for
consumer.stop() a turn of the loop later: stopped
a task cancelled while it waits in consumer.stop(): goes on behind it
a task cancelled while it waits in admin.close(): goes on behind it
EOF
