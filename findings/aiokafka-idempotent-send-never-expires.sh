#!/usr/bin/env bash
# With enable_idempotence, aiokafka's send_and_wait() has no time limit: request_timeout_ms is one for other producers alone.
#
# Expected: request_timeout_ms bounds a send, idempotent or not, as delivery.timeout.ms does in Kafka's Java client.
# Seen: while the broker does not answer, a plain producer raises after request_timeout_ms. An idempotent one goes on trying for
#   ever, and what its caller gave up long ago is stored when the broker is back.
# Matters: an HTTP handler hangs for as long as an outage lasts; with a time limit of its own it answers 503, and the event may
#   be stored all the same. So a 503 must mean "unknown", and sending again must be safe.
# HyreLog: ops/publish.py has time limits of its own, and replaces the producer; a 503 is an unknown outcome (ADR 1).

. "$(dirname "$0")/lib.sh"
python_packages aiokafka==0.14.0
start_kafka

export KAFKA_PID=$kafka_pid
seen=$("$python" - 2>/dev/null <<'PY'
import asyncio
import os
import signal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

WHERE = {"bootstrap_servers": os.environ["KAFKA"], "request_timeout_ms": 2000, "acks": "all"}


def broker(what):
    os.kill(int(os.environ["KAFKA_PID"]), what)


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=os.environ["KAFKA"])
    await admin.start()
    await admin.create_topics([NewTopic("events", 1, 1)])
    await admin.close()
    plain, idempotent = AIOKafkaProducer(**WHERE), AIOKafkaProducer(**WHERE, enable_idempotence=True)
    for producer in (plain, idempotent):
        await producer.start()
        await producer.send_and_wait("events", b"while all is well")
    broker(signal.SIGSTOP)
    try:
        sends = {
            "plain": asyncio.create_task(plain.send_and_wait("events", b"by plain")),
            "idempotent": asyncio.create_task(idempotent.send_and_wait("events", b"by idempotent")),
        }
        await asyncio.wait(sends.values(), timeout=20)
        for name, send in sends.items():
            print(f"{name}, ten times request_timeout_ms later:", type(send.exception()).__name__ if send.done() else "still waiting")
        sends["idempotent"].cancel()  # as a handler does whose own time is over
    finally:
        broker(signal.SIGCONT)
    async with AIOKafkaConsumer("events", bootstrap_servers=os.environ["KAFKA"], auto_offset_reset="earliest") as consumer:
        async for record in consumer:
            if record.value == b"by idempotent":
                print("what its caller gave up, once the broker is back: stored")
                break


asyncio.run(asyncio.wait_for(main(), 120))
PY
)
conclude "$seen" <<'EOF'
plain, ten times request_timeout_ms later: RequestTimedOutError
idempotent, ten times request_timeout_ms later: still waiting
what its caller gave up, once the broker is back: stored
EOF
