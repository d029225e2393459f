#!/usr/bin/env bash
# One cron expression with a day of the month and a day of the week is three schedules to three Python libraries.
#
# Expected: `0 0 */2 * 1` and `0 0 13 * 5` come on the same days whichever library reads them.
# Seen: Debian's cron joins the two day fields by AND as soon as one of them begins with `*`, and by OR otherwise. cronsim does
#   so; croniter looks for a bare `*`, so that `*/2` is OR; APScheduler's from_crontab always takes AND, and counts days of the
#   week from Monday as 0, so that 5 is Saturday.
# Matters: jobs that purge or archive by a schedule run on other days after a change of the library, with no error: retention
#   that is due waits for weeks, or what should run on Mondays runs on every other day.
# HyreLog: ops/schedule.py takes cronsim, and says that it reads expressions as Debian's cron does.

. "$(dirname "$0")/lib.sh"
python_packages cronsim==2.8 croniter==6.0.0 apscheduler==3.11.0

seen=$("$python" - <<'PY'
from datetime import datetime, timedelta, timezone

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

BEGIN = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)


def of_apscheduler(expression):
    now = BEGIN
    while True:
        now = CronTrigger.from_crontab(expression, timezone.utc).get_next_fire_time(None, now + timedelta(seconds=1))
        yield now


for expression in ("0 0 13 * 5", "0 0 */2 * 1"):
    print(expression)
    for name, dates in (
        ("cronsim", CronSim(expression, BEGIN)),
        ("croniter", croniter(expression, BEGIN).all_next(datetime)),
        ("APScheduler", of_apscheduler(expression)),
    ):
        print(f"  {name:11}", *[next(dates).strftime("%a-%d-%b") for _ in range(5)])
PY
)
conclude "$seen" <<'EOF'
0 0 13 * 5
  cronsim     Fri-04-Dec Fri-11-Dec Sun-13-Dec Fri-18-Dec Fri-25-Dec
  croniter    Fri-04-Dec Fri-11-Dec Sun-13-Dec Fri-18-Dec Fri-25-Dec
  APScheduler Sat-13-Feb Sat-13-Mar Sat-13-Nov Sat-13-May Sat-13-Jan
0 0 */2 * 1
  cronsim     Mon-07-Dec Mon-21-Dec Mon-11-Jan Mon-25-Jan Mon-01-Feb
  croniter    Tue-01-Dec Thu-03-Dec Sat-05-Dec Mon-07-Dec Wed-09-Dec
  APScheduler Tue-01-Dec Tue-15-Dec Tue-29-Dec Tue-05-Jan Tue-19-Jan
EOF
