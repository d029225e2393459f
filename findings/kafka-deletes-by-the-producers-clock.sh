#!/usr/bin/env bash
# Kafka deletes a record seconds after it acknowledged it, if the producer's clock is behind by the retention time.
#
# Expected: a record acknowledged by acks=all is kept for retention.ms from then on; a broker refuses timestamps that it will not
#   honour (message.timestamp.after.max.ms does so for clocks ahead, one hour by default).
# Seen: retention goes by the record's own timestamp, which is the producer's clock (CreateTime), and its limit for the past,
#   message.timestamp.before.max.ms, is unlimited. At the next retention check the record is gone. A topic with
#   message.timestamp.type=LogAppendTime stamps by the broker's clock, and keeps it.
# Matters: an ingest host with a wrong clock loses confirmed events whenever the consumer is behind by one check, which comes
#   every five minutes by default; here it is every second.
# HyreLog: ops/kafka.py makes its topics with LogAppendTime.

. "$(dirname "$0")/lib.sh"
python_packages aiokafka==0.14.0
start_kafka log.retention.check.interval.ms=1000 log.initial.task.delay.ms=1000

seen=$("$python" - <<'PY'
import asyncio
import os
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

DAY = 24 * 3600 * 1000


async def main():
    where = {"bootstrap_servers": os.environ["KAFKA"]}
    admin = AIOKafkaAdminClient(**where)
    await admin.start()
    week = {"retention.ms": str(7 * DAY)}
    await admin.create_topics(
        [
            NewTopic("stamped-by-producer", 1, 1, topic_configs=week),
            NewTopic("stamped-by-broker", 1, 1, topic_configs=week | {"message.timestamp.type": "LogAppendTime"}),
        ]
    )
    async with AIOKafkaProducer(**where, acks="all") as producer, AIOKafkaConsumer(**where) as consumer:
        eight_days_ago = int(time.time() * 1000) - 8 * DAY
        for topic in ("stamped-by-broker", "stamped-by-producer"):
            told = await producer.send_and_wait(topic, b"accepted", timestamp_ms=eight_days_ago)
            print(f"{topic}: acknowledged at offset {told.offset}")

        async def first_offset(topic):
            return (await consumer.beginning_offsets([TopicPartition(topic, 0)]))[TopicPartition(topic, 0)]

        began = time.monotonic()
        while await first_offset("stamped-by-producer") == 0:
            await asyncio.sleep(0.2)
        within = "within a minute" if time.monotonic() - began < 60 else "later"
        print(f"stamped-by-producer: {within} the log begins at offset {await first_offset('stamped-by-producer')}")
        print(f"stamped-by-broker: the log begins at offset {await first_offset('stamped-by-broker')}")
    await admin.close()


asyncio.run(asyncio.wait_for(main(), 120))
PY
)
conclude "$seen" <<'EOF'
stamped-by-broker: acknowledged at offset 0
stamped-by-producer: acknowledged at offset 0
stamped-by-producer: within a minute the log begins at offset 1
stamped-by-broker: the log begins at offset 0
EOF
