"""``hyrelog demo``: real events through the whole pipeline, step by step, against the running stack."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import fastavro
from rich.console import Console
from rich.table import Table

from ops.kafka import TopicPartition, consumer, partition_of
from ops.local.envfile import FILE, read_env
from ops.local.environment import Role, service_settings
from ops.local.process import wait_for
from ops.local.state import State
from ops.settings import Settings
from schemas.codec import HEADER_BYTES, MAGIC
from schemas.topics import Region, events_topic

_STORED_SECONDS = 60.0
_EVENTS: tuple[dict[str, Any], ...] = (
    {
        "category": "auth",
        "action": "user.login",
        "outcome": "SUCCESS",
        "actor": {"id": "usr_1001", "type": "user", "email": "ada@example.com"},
        "resource": {"type": "session", "id": "ses_501"},
        "metadata": {"method": "passkey"},
    },
    {
        "category": "billing",
        "action": "invoice.paid",
        "outcome": "SUCCESS",
        "actor": {"id": "svc_billing", "type": "service"},
        "resource": {"type": "invoice", "id": "inv_2042"},
        "metadata": {"amount": 129900, "currency": "EUR"},
    },
    {
        "category": "permission",
        "action": "role.grant",
        "outcome": "DENIED",
        "actor": {"id": "usr_1002", "type": "user", "email": "grace@example.com"},
        "resource": {"type": "project", "id": "prj_7"},
        "metadata": {"role": "owner"},
    },
)


class DemoError(Exception):
    """A step of the demo did not go as promised."""


class Client:
    """Calls the HTTP API with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._address = urlsplit(url).netloc
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and parsed body."""
        connection = http.client.HTTPConnection(self._address, timeout=35)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def expect(self, status: int, method: str, path: str, body: object = None) -> Any:
        """The parsed body of an answer with that status. Raises :class:`DemoError` for another one."""
        found, answer = self.call(method, path, body)
        if found != status:
            raise DemoError(f"{method} {path} answered {found}, not {status}: {answer}")
        return answer


def tell(state: State, console: Console) -> None:
    """Post, wait, read back, verify, look at the topic, and say how to go on. Raises :class:`DemoError`."""
    environ = read_env(state.root / FILE)
    client = Client(environ["HYRELOG_URL"], environ["HYRELOG_WORKSPACE_KEY"])
    ids = _post(client, console)
    _read_back(client, ids, console)
    _verify(state, console)
    _show_record(state, client, environ, console)
    console.print(_next_steps(state), highlight=False, markup=False, soft_wrap=True)


def _post(client: Client, console: Console) -> list[str]:
    first, *others = _EVENTS
    ids = [client.expect(202, "POST", "/v1/events", first)["id"]]
    ids += [one["id"] for one in client.expect(202, "POST", "/v1/events/batch", others)["events"]]
    console.print(f"\n[bold]Accepted[/] {len(ids)} events: Kafka has them.")
    return ids


def _read_back(client: Client, ids: list[str], console: Console) -> None:
    if not wait_for(lambda: all(client.call("GET", f"/v1/events/{each}")[0] == 200 for each in ids), _STORED_SECONDS):
        raise DemoError(f"the events were not stored within {_STORED_SECONDS:.0f} s")
    console.print("[bold]Stored[/], each linked to the one before it:")
    rows = Table("seq", "action", "outcome", "actor", "prevHash", "hash")
    for event in reversed(client.expect(200, "GET", f"/v1/events?limit={len(ids)}")["data"]):
        actor = (event["actor"] or {}).get("id", "")
        hashes = (event["prevHash"][:10] + "…", event["hash"][:10] + "…")
        rows.add_row(str(event["seq"]), event["action"], event["outcome"], actor, *hashes)
    console.print(rows)


def _verify(state: State, console: Console) -> None:
    console.print("[bold]Verified[/] by the auditor, from the database alone:")
    environ = {**os.environ, "HYRELOG_STATE": str(state.root)}
    if subprocess.run([sys.executable, "-m", "ops", "verify"], env=environ, check=False).returncode != 0:
        raise DemoError("hyrelog verify found a fault")


def _show_record(state: State, client: Client, environ: Mapping[str, str], console: Console) -> None:
    """Read the newest record as any consumer would: by the schema that its fingerprint names."""
    region = Region(environ["HYRELOG_REGION"])
    record = asyncio.run(_newest(service_settings(state, Role.AUDITOR), region, environ["HYRELOG_WORKSPACE_ID"]))
    fingerprint = record[len(MAGIC) : HEADER_BYTES][::-1].hex()
    schema = client.expect(200, "GET", f"/v1/schemas/{fingerprint}")
    event: Any = fastavro.schemaless_reader(BytesIO(record[HEADER_BYTES:]), schema, None)
    console.print(f"[bold]Announced[/] on the Kafka topic {events_topic(region)} (Avro schema {fingerprint}):")
    console.print_json(json.dumps(event, default=lambda value: value.hex() if isinstance(value, bytes) else value.isoformat()))


async def _newest(settings: Settings, region: Region, workspace_id: str) -> bytes:
    partition = TopicPartition(events_topic(region), partition_of(workspace_id, settings.topic_partitions))
    reader = consumer(settings, region)
    await reader.start()
    try:
        reader.assign([partition])
        end = (await reader.end_offsets([partition]))[partition]
        reader.seek(partition, max(0, end - 1))
        record = await asyncio.wait_for(reader.getone(partition), _STORED_SECONDS)
    finally:
        await reader.stop()
    value: bytes = record.value
    return value


def _next_steps(state: State) -> str:
    directory = os.path.relpath(state.root)
    return f"""
The stack goes on running. Paste these:

  . {directory}/{FILE}
  curl -s "$HYRELOG_URL/v1/events" -H "Authorization: Bearer $HYRELOG_WORKSPACE_KEY" -H 'Content-Type: application/json' \\
    -d '{{"category":"auth","action":"user.login","outcome":"SUCCESS","actor":{{"id":"usr_1003"}}}}'
  curl -s "$HYRELOG_URL/v1/events?limit=5" -H "Authorization: Bearer $HYRELOG_COMPANY_KEY"
  curl -s "$HYRELOG_URL/v1/workspaces/$HYRELOG_WORKSPACE_ID/chain" -H "Authorization: Bearer $HYRELOG_WORKSPACE_KEY"
  .venv/bin/hyrelog verify
  .venv/bin/hyrelog status

`make down` stops it, `make demo` starts it again with its data."""
