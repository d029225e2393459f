#!/usr/bin/env bash
# mode's supervisor, told "at most 100 restarts a second", ends the process at the second crash within 10 ms.
#
# Expected: max_restarts=100, over=1.0 admit a burst of two crashes; a process ends at the 101st crash of a second.
# Seen: the bucket is filled at 100 tokens a second and holds `over` = 1 token, not 100. Two services that crash within 10 ms are
#   one restart too many: SystemExit(1), which ends a mode or Faust worker. The script lets 20 do so. Faust supervises its
#   agents with exactly these two numbers.
# Matters: a rebalance, a lost database or a poisoned record hits several partitions at once; one cause, two crashes, and
#   the whole consumer is gone instead of its two actors being restarted.
# HyreLog: streams/app.py lets no cancellation or transient error out of its agent.

. "$(dirname "$0")/lib.sh"
python_packages mode-streaming==0.7.1

seen=$("$python" - 2>/dev/null <<'PY'
import asyncio

import mode


class Fragile(mode.Service):
    starts = 0

    async def on_start(self):
        self.starts += 1


async def crash_together(how_many):
    services = [Fragile() for _ in range(how_many)]
    supervisor = mode.OneForOneSupervisor(max_restarts=100.0, over=1.0)
    supervisor.add(*services)
    await supervisor.start()
    await asyncio.sleep(0.1)  # the supervisor's task waits for crashes now
    for service in services:
        await service.crash(RuntimeError("lost its database"))
    while not supervisor.crashed and not all(service.starts == 2 for service in services):
        await asyncio.sleep(0.01)
    print(how_many, "crashed at once:", f"supervisor ends by {supervisor.crash_reason!r}" if supervisor.crashed else "restarted")


for how_many in (1, 20):
    asyncio.run(asyncio.wait_for(crash_together(how_many), 20))
PY
)
conclude "$seen" <<'EOF'
1 crashed at once: restarted
20 crashed at once: supervisor ends by SystemExit(1)
EOF
