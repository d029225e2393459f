#!/usr/bin/env bash
# The URL by which psycopg and asyncpg find the writable one of two PostgreSQL hosts is a ValueError to SQLAlchemy, so to Alembic.
#
# Expected: libpq's form `postgresql://user@host1:5432,host2:5432/db?target_session_attrs=read-write` (PostgreSQL manual,
#   "Specifying Multiple Hosts") works wherever a URL of psycopg is taken: one setting for a service and its migrations.
# Seen: psycopg and asyncpg read it. SQLAlchemy's make_url takes all behind the first colon for one port, and raises ValueError,
#   not its own ArgumentError. (It has a form of its own, `?host=host1:5432&host=host2:5432`, which asyncpg does not have.)
# Matters: the day a standby is named in DATABASE_URL, services start, and the deployment stops at its migrations.
# HyreLog: ops/migrate.py lets psycopg read the URL, and gives SQLAlchemy the connection.

. "$(dirname "$0")/lib.sh"
python_packages sqlalchemy==2.1.9 'psycopg[binary]==3.3.9' asyncpg==0.32.0

seen=$("$python" - <<'PY'
import asyncio
import socket

import asyncpg
import psycopg.conninfo
import sqlalchemy

with socket.create_server(("127.0.0.1", 0)) as closed:
    away = closed.getsockname()[1]
standby = socket.create_server(("127.0.0.1", 0))
standby.setblocking(False)
url = f"postgresql://app@127.0.0.1:{away},127.0.0.1:{standby.getsockname()[1]}/events?target_session_attrs=read-write&sslmode=disable"

found = psycopg.conninfo.conninfo_to_dict(url)
print("psycopg:", len(found["host"].split(",")), "hosts,", found["target_session_attrs"])


async def asyncpg_goes_on():
    connecting = asyncio.create_task(asyncpg.connect(url))
    accepted, _ = await asyncio.get_running_loop().sock_accept(standby)
    accepted.close()
    await asyncio.wait([connecting])
    connecting.exception()


asyncio.run(asyncio.wait_for(asyncpg_goes_on(), 30))
print("asyncpg: nobody at the first host, goes on to the second")
try:
    sqlalchemy.make_url(url)
    print("SQLAlchemy: reads it")
except Exception as error:
    print("SQLAlchemy:", type(error).__name__)
print("SQLAlchemy with one host:", sqlalchemy.make_url("postgresql+psycopg://app@127.0.0.1:5432/events").port)
PY
)
conclude "$seen" <<'EOF'
psycopg: 2 hosts, read-write
asyncpg: nobody at the first host, goes on to the second
SQLAlchemy: ValueError
SQLAlchemy with one host: 5432
EOF
