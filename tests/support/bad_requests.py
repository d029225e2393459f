"""Bad requests to ingest, each with the answer that the contract gives it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import zstandard

from tests.support.posting import BATCH, LEAST, SINGLE

NDJSON = "application/x-ndjson"
GOOD = orjson.dumps(LEAST)
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """A request and the answer it must get. ``places`` are the details' (index, field)."""

    name: str
    body: bytes
    places: tuple[tuple[int | None, str | None], ...] = ()
    status: int = 400
    code: str = "VALIDATION_ERROR"
    path: str = SINGLE
    headers: Mapping[str, str | bytes | None] = field(default_factory=dict)


def event(**members: Any) -> bytes:
    return orjson.dumps(LEAST | members)


def raw(members: str) -> bytes:
    """An event with members written by hand."""
    return b'{"category":"auth","action":"login",%b}' % members.encode()


def bad(name: str, body: bytes, *fields: str | None) -> Case:
    return Case(name, body, tuple((None, field) for field in fields))


def wrong(field: str, *values: Any) -> list[Case]:
    """The field with each of these values."""
    return [bad(f"{field} {value!r:.50}", event(**{field: value}), field) for value in values]


def large(name: str, body: bytes, path: str = SINGLE, index: int | None = None, **headers: str) -> Case:
    return Case(name, body, () if index is None else ((index, None),), 413, "PAYLOAD_TOO_LARGE", path, dict(headers))


def media(name: str, path: str = SINGLE, **headers: str | bytes | None) -> Case:
    return Case(name, GOOD, (), 415, "UNSUPPORTED_MEDIA_TYPE", path, headers)


def packed(name: str, body: bytes, coding: str, path: str = SINGLE) -> Case:
    return Case(name, body, ((None, None),), path=path, headers={"content_encoding": coding})


def batch(name: str, body: bytes, *places: tuple[int | None, str | None], kind: str = "application/json") -> Case:
    return Case(name, body, places, path=BATCH, headers={"content_type": kind})


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def padded(size: int) -> bytes:
    """An event of that many bytes in canonical form."""
    empty = len(event(metadata={"a": ""}))
    return event(metadata={"a": "x" * (size - empty)})


def zstd(data: bytes, window_log: int = 17) -> bytes:
    """A frame that does not say its size."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(data) + packer.flush()


ENCODING = [
    bad("broken UTF-8", GOOD[:-2] + b'\xff"}', None),
    bad("overlong UTF-8", raw('"metadata":{"a":"%"}').replace(b"%", b"\xc0\x80"), None),
    bad("a surrogate in UTF-8", raw('"metadata":{"a":"%"}').replace(b"%", b"\xed\xa0\x80"), None),
    bad("UTF-16", GOOD.decode().encode("utf-16"), None),
    bad("a byte order mark", b"\xef\xbb\xbf" + GOOD, None),
    bad("a lone high surrogate", raw(r'"metadata":{"a":"\ud800"}'), None),
    bad("a lone low surrogate in a key", raw(r'"metadata":{"\udc00":1}'), None),
    bad("U+0000 in a string", raw(r'"metadata":{"a":["\u0000"]}'), "metadata.a[0]"),
    bad("U+0000 in a key", raw(r'"actor":{"a\u0000":1}'), r"actor.a\u0000"),
    bad("U+0000 in tenantId", raw(r'"tenantId":"a\u0000"'), "tenantId"),
    bad("a raw control character", raw('"metadata":{"a":"\t"}'), None),
]
SYNTAX = [
    bad("no body", b"", None),
    bad("white space alone", b" \r\n\t", None),
    bad("cut off", GOOD[:-1], None),
    bad("more behind the end", GOOD + b"x", None),
    bad("two events", GOOD + GOOD, None),
    bad("an array", b"[%b]" % GOOD, None),
    bad("null", b"null", None),
    bad("a string", b'"event"', None),
    bad("a number", b"1", None),
    bad("single quotes", b"{'category':'auth'}", None),
    bad("a trailing comma", GOOD[:-1] + b",}", None),
    bad("a comment", GOOD + b"// x", None),
    bad("NaN", raw('"metadata":{"a":NaN}'), None),
    bad("Infinity", raw('"metadata":{"a":-Infinity}'), None),
    bad("33 levels", raw('"metadata":{"a":' + nested(31) + "}"), "metadata.a" + "[0]" * 30),
    bad("1,000 levels", raw('"metadata":{"a":' + nested(1000) + "}"), "metadata.a" + "[0]" * 30),
    bad("100,000 levels", b"[" * 100_000, None),
    bad("100,000 objects never closed", b'{"a":' * 50_000, None),
]
NUMBERS = [
    bad("2^53", raw('"metadata":{"a":9007199254740992}'), "metadata.a"),
    bad("-2^53", raw('"metadata":{"a":-9007199254740992}'), "metadata.a"),
    bad("2^53 with an exponent", raw('"metadata":{"a":9.007199254740992e15}'), "metadata.a"),
    bad("2^53 with a point", raw('"metadata":{"a":[1,9007199254740992.0]}'), "metadata.a[1]"),
    bad("1e308", raw('"actor":{"a":1e308}'), "actor.a"),
    bad("1e400", raw('"metadata":{"a":1e400}'), None),
    bad("2^64", raw('"metadata":{"a":18446744073709551616}'), "metadata.a"),
    bad("5,000 digits", raw('"metadata":{"a":' + "9" * 5000 + "}"), None),
    bad("300 digits behind a repeated key", raw('"metadata":{"a":' + "9" * 300 + ',"a":1}'), "metadata.a"),
]
DUPLICATES = [
    bad("a field twice", raw('"category":"user"'), "category"),
    bad("a key twice, deep down", raw('"metadata":{"a":[{"b":1,"b":1}]}'), "metadata.a[0].b"),
    bad("a key twice, once escaped", raw(r'"metadata":{"a":1,"\u0061":2}'), "metadata.a"),
    bad("a key twice, a colon in an escape", raw(r'"metadata":{"a":1,"a":"\u003a"}'), "metadata.a"),
    bad("a key twice, the first value deep", raw('"metadata":{"a":' + nested(1000) + ',"a":1}'), None),
]
FIELDS = [
    bad("an empty object", b"{}", "category", "action"),
    bad("unknown fields", event(extra=1, Category="x"), "extra", "Category"),
    bad("an empty field name", raw('"":1'), None),
    *wrong("category", "", "Auth", "1a", "a b", "é", "a" * 65, "a\n", None, 1, [], {}, True),
    *wrong("action", "", "a b", "é", "a" * 129, "a\n", None, 1, [], {}, False),
    *wrong("outcome", "", "success", "OK", 1, True, []),
    *wrong("tenantId", "", "x" * 129, "😀" * 129, 1, {}, []),
    *wrong("projectId", "", "x", "019C1388-7149-7198-9612-EA72D1F43751", "019c13887149719896 12ea72d1f43751", 1),
    *wrong("actor", "text", 1, [], True),
    *wrong("resource", "text", 1, [], True),
    *wrong("metadata", "text", 1, [], True),
    *[bad(f"actor.{member}, 256 bytes", event(actor={member: "é" * 128}), f"actor.{member}") for member in ("id", "type", "email", "role")],
    *[bad(f"resource.{member}, 256 bytes", event(resource={member: "😀" * 64}), f"resource.{member}") for member in ("type", "id")],
    *[bad(f"actor.{member} a number", event(actor={member: 7}), f"actor.{member}") for member in ("id", "type", "email", "role", "name")],
    bad(
        "everything at once",
        orjson.dumps({"timestamp": 1, "outcome": "x", "actor": 1}),
        "actor",
        "category",
        "action",
        "timestamp",
        "outcome",
    ),
]
TIMES = wrong(
    "timestamp",
    "",
    "now",
    1770000000,
    "2026-01-31",
    "2026-01-31T09:30:00",
    "2026-01-31 09:30:00Z",
    "2026-01-31T09:30:00.1234567Z",
    "2026-01-31T09:30:00.Z",
    "2026-01-31T09:30:00+25:00",
    "2026-01-31T09:30:00+01:99",
    "2026-02-29T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-01-31T24:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-00:01",
)
SIZES = [
    large("a body of 256 KiB and a byte", GOOD + b" " * ((256 << 10) + 1 - len(GOOD))),
    large("an event of 128 KiB and a byte", padded((128 << 10) + 1)),
    large("a batch of 5 MiB and a byte", b"[%b]" % (GOOD + b" " * (5 * MIB + 1 - len(GOOD) - 2)), BATCH),
    large("a batch of 1,001 events", b"[%b]" % b",".join([GOOD] * 1001), BATCH),
    large("1,001 lines", b"\n".join([GOOD] * 1001), BATCH, content_type=NDJSON),
    large("a batch with an event of 128 KiB and a byte", b"[%b,%b]" % (GOOD, padded((128 << 10) + 1)), BATCH, 1),
    large("a line of 128 KiB and a byte", b"%b\n%b" % (GOOD, padded((128 << 10) + 1)), BATCH, 1, content_type=NDJSON),
    large("a gzip bomb", gzip.compress(bytes(200 * MIB), 9), content_encoding="gzip"),
    large("a zstd bomb", zstandard.compress(bytes(200 * MIB)), content_encoding="zstd"),
    large("a zstd bomb that hides its size", zstd(bytes(200 * MIB)), content_encoding="zstd"),
    large("a gzip bomb in a batch", gzip.compress(b"[" + b" " * 200 * MIB, 9), BATCH, content_encoding="gzip"),
    large("a zstd bomb in a batch", zstd(b"[" + b" " * 200 * MIB), BATCH, content_encoding="zstd"),
    large("256 KiB and a byte, packed", gzip.compress(GOOD + b" " * ((256 << 10) + 1 - len(GOOD))), content_encoding="gzip"),
    large("256 KiB and a byte, packed by zstd", zstd(GOOD + b" " * ((256 << 10) + 1 - len(GOOD))), content_encoding="zstd"),
]
CODINGS = [
    packed("gzip cut off", gzip.compress(GOOD)[:-1], "gzip"),
    packed("gzip with trailing bytes", gzip.compress(GOOD) + b"\0", "gzip"),
    packed("two gzip members", gzip.compress(GOOD) * 2, "gzip"),
    packed("gzip of another checksum", gzip.compress(GOOD)[:-8] + bytes(8), "gzip"),
    packed("gzip that is none", GOOD, "gzip"),
    packed("zstd sent as gzip", zstandard.compress(GOOD), "gzip"),
    packed("zstd cut off", zstandard.compress(GOOD)[:-1], "zstd"),
    packed("zstd without its size, cut off", zstd(GOOD)[:-1], "zstd"),
    packed("zstd with trailing bytes", zstd(GOOD) + b"\0", "zstd"),
    packed("two zstd frames", zstd(GOOD) * 2, "zstd"),
    packed("zstd that is none", GOOD, "zstd"),
    packed("gzip sent as zstd", gzip.compress(GOOD), "zstd"),
    packed("a zstd window of 16 MiB", zstd(GOOD, window_log=24), "zstd"),
    packed("gzip twice, announced once", gzip.compress(gzip.compress(GOOD)), "gzip"),
    packed("gzip of nothing", gzip.compress(b""), "gzip"),
    bad("gzip without saying so", gzip.compress(GOOD), None),
    packed("a batch cut off", gzip.compress(b"[%b]" % GOOD)[:-1], "gzip", BATCH),
    *[
        media(f"Content-Encoding {coding!r}", content_encoding=coding)
        for coding in ("br", "deflate", "gzip, gzip", "gzip,zstd", "*", "utf-8")
    ],
]
MEDIA_TYPES = [
    media("no Content-Type", content_type=None),
    *[
        media(f"Content-Type {kind!r}", content_type=kind)
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json5",
            "application/json; charset=latin-1",
            "multipart/form-data",
            NDJSON,
        )
    ],
    media("a charset behind another parameter", content_type="application/json; v=1; charset=utf-16"),
    media("text to the batch", BATCH, content_type="text/plain"),
]
BATCHES = [
    batch("no events", b"[]", (None, None)),
    batch("an object", GOOD, (None, None)),
    batch("nothing", b"", (None, None)),
    batch("empty lines alone", b"\n \n\r\n", (None, None), kind=NDJSON),
    batch("a bad event in the middle", b"[%b,{},%b]" % (GOOD, GOOD), (1, "category"), (1, "action")),
    batch("two bad events", orjson.dumps([LEAST | {"outcome": 1}, LEAST, LEAST | {"x": 1}]), (0, "outcome"), (2, "x")),
    batch("something that is no event", b"[%b,null,[]]" % GOOD, (1, None), (2, None)),
    batch("a duplicate key", b"[%b,%b]" % (GOOD, raw('"metadata":{"a":1,"a":2}')), (1, "metadata.a")),
    batch("a deep value behind a repeated key", b"[%b]" % raw('"metadata":{"a":' + nested(1000) + ',"a":1}'), (None, None)),
    batch("a bad line", b"%b\n{\n%b" % (GOOD, GOOD), (1, None), kind=NDJSON),
    batch("a bad line behind an empty one", b"%b\n\n%b" % (GOOD, event(action="")), (1, "action"), kind=NDJSON),
    batch("a line with a duplicate key", b"%b\n%b" % (GOOD, raw(r'"metadata":{"a":1,"\u0061":2}')), (1, "metadata.a"), kind=NDJSON),
    batch("an array as a line", b"[%b]" % GOOD, (0, None), kind=NDJSON),
    batch("an event over two lines", GOOD.replace(b",", b",\n"), (0, None), kind=NDJSON),
    batch("broken UTF-8 in a line", GOOD + b"\n\xff", (1, None), kind=NDJSON),
    batch("the last of 1,000 is bad", b"[%b]" % b",".join([*[GOOD] * 999, b"{}"]), (999, "category"), (999, "action")),
]
KEYS = [
    *[
        Case(f"Idempotency-Key {value!r:.20}", GOOD, ((None, "Idempotency-Key"),), headers={"idempotency_key": value})
        for value in (b"", b"k" * 256, "é".encode("latin-1"), "é".encode(), b"a\tb")
    ],
    *wrong("idempotencyKey", "", "k" * 256, "é", "a\n", "\t", 1, []),
    Case("two different keys", event(idempotencyKey="a"), ((None, "idempotencyKey"),), headers={"idempotency_key": "b"}),
    Case("a key for a batch", b"[%b]" % GOOD, ((None, "Idempotency-Key"),), path=BATCH, headers={"idempotency_key": "k"}),
]
CALLERS = [
    Case(f"Authorization {number}: {value!r:.20}", GOOD, (), 401, "UNAUTHORIZED", path, {"authorization": value})
    for path in (SINGLE, BATCH)
    for number, value in enumerate(
        (
            None,
            "",
            "Bearer",
            "Basic dXNlcjpwYXNz",
            "Bearer hlk_us_ws_" + "0" * 48,
            "Bearer hlk_ws_" + "0" * 48,
            "Bearer hlk_us_ws_" + "0" * 47,
            "Bearer hlk_fr_ws_" + "0" * 48,
            "Bearer " + "x" * 5000,
            b"Bearer \xff\xfe",
        )
    )
]
CASES = [*ENCODING, *SYNTAX, *NUMBERS, *DUPLICATES, *FIELDS, *TIMES, *SIZES, *CODINGS, *MEDIA_TYPES, *BATCHES, *KEYS, *CALLERS]
