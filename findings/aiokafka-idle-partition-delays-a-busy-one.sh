#!/usr/bin/env bash
# An aiokafka consumer hears of a busy partition's next record up to fetch_max_wait_ms late, because another one is idle.
#
# Expected: fetch_max_wait_ms is how long a broker may wait when there is nothing to send. A record that is there is told at once.
# Seen: one fetch a broker is under way at a time. While records of the busy partition are still in memory, the next fetch asks for
#   the idle partitions alone, and waits out its whole time there; the busy one is not asked for until it is over.
# Matters: topics keyed by tenant always have idle partitions. A consumer that takes less than all at once (getone, max_records)
#   runs at the pace of the wait: 0.5 s by default, 1.5 s as Faust sets it, for each turn.
# HyreLog: ops/long_poll.py waits long only where the fetch covers every partition, and ends a wait when one is sought or resumed.

. "$(dirname "$0")/lib.sh"
python_packages aiokafka==0.14.0
start_kafka

seen=$("$python" - <<'PY'
import asyncio
import os
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

WAIT = 8.0
BUSY, IDLE = TopicPartition("events", 0), TopicPartition("events", 1)


async def seconds_for_the_third(partitions):
    where = {"bootstrap_servers": os.environ["KAFKA"]}
    async with AIOKafkaProducer(**where) as producer, AIOKafkaConsumer(**where, fetch_max_wait_ms=round(WAIT * 1000)) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        await asyncio.gather(*[consumer.position(each) for each in partitions])
        batch = producer.create_batch()
        for value in (b"first", b"second"):
            batch.append(key=None, value=value, timestamp=None)
        await (await producer.send_batch(batch, "events", partition=0))
        assert (await consumer.getone()).value == b"first"
        await asyncio.sleep(0.5)  # while "second" is in memory, the next fetch goes out
        assert (await consumer.getone()).value == b"second"
        await producer.send_and_wait("events", b"third", partition=0)
        began = time.monotonic()
        assert (await consumer.getone()).value == b"third"
        return time.monotonic() - began


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=os.environ["KAFKA"])
    await admin.start()
    await admin.create_topics([NewTopic("events", 2, 1)])
    await admin.close()
    for what, partitions in (("busy partition alone", [BUSY]), ("with an idle one beside it", [BUSY, IDLE])):
        waited = await seconds_for_the_third(partitions)
        print(f"{what}:", "told at once" if waited < WAIT / 4 else "told when the idle one's wait was over" if waited > WAIT / 2 else waited)


asyncio.run(asyncio.wait_for(main(), 120))
PY
)
conclude "$seen" <<'EOF'
busy partition alone: told at once
with an idle one beside it: told when the idle one's wait was over
EOF
