"""The archive's golden vectors: computed by our code, computed again by plain code, and both are what the file says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

import pytest

from schemas.archive import ArchiveRange, ArchiveWork, decode_work, encode_work, events_key, keys_key, keys_key_of
from schemas.event import Group, StoredEvent
from schemas.incoming import parse_time
from schemas.merkle import place_of, tile_key
from schemas.seal import Salts, event_line, keys_header, read_header, read_line, restored, salts_of
from tests.unit.schemas import plain, plain_archive
from tests.unit.schemas.test_vectors import load, requests, stored

VECTORS = load("archive.json")
PARTS = [pytest.param(part, id=f"part {part['part']}") for part in VECTORS["parts"]]
GENERATIONS = [
    pytest.param(part, generation, id=f"part {part['part']} generation {generation['generation']}")
    for part in VECTORS["parts"]
    for generation in part["generations"]
]


class Archived(NamedTuple):
    """An event of the chains' file, as that says and as our code has it."""

    vector: dict[str, Any]
    event: StoredEvent


def archived(part: dict[str, Any]) -> list[Archived]:
    """The part's events as they are before anything of them is erased."""
    return [
        Archived(event, stored(each, index, event))
        for each in requests()
        if each.chain["workspaceId"] == part["workspaceId"]
        for index, event in enumerate(each.request["events"])
    ]


def without(event: StoredEvent, erased: dict[str, Any] | None) -> StoredEvent:
    """The event once those groups were erased."""
    if erased is None:
        return event
    gone: dict[str, Any] = {name: Group(getattr(event, name).commitment, None) for name in erased["groups"]}
    return replace(event, **gone, erased_at=parse_time(erased["erasedAt"]))


def left(vector: dict[str, Any], erased: dict[str, Any] | None) -> dict[str, bytes | None]:
    """The event's salts once those groups were erased."""
    gone = erased["groups"] if erased else []
    return {name: None if salt is None or name in gone else bytes.fromhex(salt) for name, salt in vector["salts"].items()}


def content(lines: Iterator[str] | list[str]) -> bytes:
    return b"".join(line.encode() + b"\n" for line in lines)


@pytest.mark.parametrize("part", PARTS)
def test_plain_code_writes_the_lines_of_events(part: dict[str, Any]) -> None:
    lines = [
        plain_archive.event_line(event["leaf"], left(event, line["erased"]), event["groups"])
        for (event, _), line in zip(archived(part), part["events"], strict=True)
    ]
    assert lines == [line["line"] for line in part["events"]]
    assert sha256(content(lines)).hexdigest() == part["eventsSha256"]


@pytest.mark.parametrize("part", PARTS)
def test_our_code_writes_the_lines_of_events(part: dict[str, Any]) -> None:
    lines = [event_line(without(event, line["erased"])).decode() for (_, event), line in zip(archived(part), part["events"], strict=True)]
    assert lines == [line["line"] for line in part["events"]]


@pytest.mark.parametrize("part", PARTS)
def test_a_line_holds_the_leaf_that_was_hashed(part: dict[str, Any]) -> None:
    for (vector, _), line in zip(archived(part), part["events"], strict=True):
        found = read_line(line["line"].encode())
        assert (found.leaf.decode(), found.hash.hex()) == (vector["leaf"], vector["hash"])


@pytest.mark.parametrize(("part", "generation"), GENERATIONS)
def test_plain_code_writes_the_salts(part: dict[str, Any], generation: dict[str, Any]) -> None:
    key, number = bytes.fromhex(part["dataKey"]), generation["generation"]
    header = plain_archive.keys_header(part["eventsKey"], number)
    contents = [
        plain_archive.salts(left(event, line["erased"]), plain.micros(line["erased"]["erasedAt"]) if line["erased"] else 0)
        for (event, _), line in zip(archived(part), generation["lines"], strict=True)
    ]
    lines = [plain_archive.keys_line(key, part["eventsKey"], number, place, each) for place, each in enumerate(contents)]
    assert header == generation["header"]
    assert [each.hex() for each in contents] == [line["content"] for line in generation["lines"]]
    assert lines == [line["line"] for line in generation["lines"]]
    assert sha256(content([header, *lines])).hexdigest() == generation["sha256"]


@pytest.mark.parametrize(("part", "generation"), GENERATIONS)
def test_our_code_writes_the_salts(part: dict[str, Any], generation: dict[str, Any]) -> None:
    number = generation["generation"]
    cipher = Salts(bytes.fromhex(part["dataKey"]), part["eventsKey"], number)
    assert keys_header(part["eventsKey"], number).decode() == generation["header"]
    assert read_header(generation["header"].encode()) == (part["eventsKey"], number)
    for place, ((_, event), line) in enumerate(zip(archived(part), generation["lines"], strict=True)):
        found = salts_of(without(event, line["erased"]))
        assert found.hex() == line["content"]
        assert cipher.encrypt(place, found).decode() == line["line"]
        assert cipher.decrypt(place, line["line"].encode()) == found


@pytest.mark.parametrize(("part", "generation"), GENERATIONS)
def test_both_objects_together_are_the_events_again(part: dict[str, Any], generation: dict[str, Any]) -> None:
    """An event whose groups were erased, before archiving or after, is what it would be in the database."""
    cipher = Salts(bytes.fromhex(part["dataKey"]), part["eventsKey"], generation["generation"])
    for place, ((_, event), line, salts) in enumerate(zip(archived(part), part["events"], generation["lines"], strict=True)):
        found = restored(read_line(line["line"].encode()), cipher.decrypt(place, salts["line"].encode()))
        assert found == replace(without(event, salts["erased"]), source_offset=0, source_index=0)


@pytest.mark.parametrize("vector", VECTORS["objectNames"], ids=lambda vector: vector["eventsKey"][-30:])
def test_objects_have_their_names(vector: dict[str, Any]) -> None:
    company, day, part = vector["companyId"], vector["archiveDay"], vector["part"]
    stem = plain_archive.stem(company, day, part)
    assert (f"{stem}.jsonl.gz", f"{stem}.keys.gz") == (vector["eventsKey"], vector["keysKey"])
    assert events_key(company, date.fromisoformat(day), part) == vector["eventsKey"]
    assert keys_key(company, date.fromisoformat(day), part) == keys_key_of(vector["eventsKey"]) == vector["keysKey"]


def test_parts_are_named_alike() -> None:
    for part in VECTORS["parts"]:
        names = part["eventsKey"], part["keysKey"]
        stem = plain_archive.stem(part["companyId"], part["archiveDay"], part["part"])
        assert (f"{stem}.jsonl.gz", f"{stem}.keys.gz") == names


@pytest.mark.parametrize("vector", VECTORS["tiles"], ids=lambda vector: f"{vector['index']} of {vector['width']}")
def test_tiles_have_their_names(vector: dict[str, Any]) -> None:
    company, workspace, index, width = (vector[name] for name in ("companyId", "workspaceId", "index", "width"))
    assert tile_key(company, workspace, index, width) == vector["key"]
    assert f"tiles/{company}/{workspace}/{plain_archive.tile_path(index, width)}" == vector["key"]


@pytest.mark.parametrize("vector", VECTORS["places"], ids=lambda vector: str(vector["seq"]))
def test_hashes_have_their_places(vector: dict[str, int]) -> None:
    assert place_of(vector["seq"]) == (vector["tile"], vector["place"])
    assert vector["tile"] * 256 + vector["place"] + 1 == vector["seq"]


@pytest.mark.parametrize("vector", VECTORS["work"], ids=lambda vector: vector["partId"])
def test_archive_work_has_its_record(vector: dict[str, Any]) -> None:
    record = bytes.fromhex(vector["record"])
    told = {name: value for name, value in vector.items() if name not in ("record", "schemaFingerprint")}
    day = date.fromisoformat(vector["archiveDay"])
    ranges = tuple(ArchiveRange(each["workspaceId"], each["fromSeq"], each["toSeq"]) for each in vector["ranges"])
    work = ArchiveWork(vector["partId"], vector["companyId"], day, vector["part"], ranges)
    assert plain.decode(plain.schema("archive_work"), record) == told | {"archiveDay": (day - date(1970, 1, 1)).days}
    assert f"{plain.fingerprint(plain.schema('archive_work')):016x}" == vector["schemaFingerprint"]
    assert (encode_work(work), decode_work(record)) == (record, work)
