"""The lines of an export: whatever says the same verifies, and whatever says something else is named."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ops.verify.exports import BadLine, ExportWalk, told_holes
from schemas.event import GROUPS, Group, StoredEvent
from schemas.leaf import leaf_hash, leaf_of
from schemas.view import render
from tests.support.chains import Chain
from tests.unit.schemas.strategies import STORED, VALUES, chains

COMPANY, WORKSPACE, LATER = (f"019c1388-0000-7000-8000-00000000000{number}" for number in range(3))


EVENT = Chain(COMPANY, WORKSPACE).event(context=b'{"a":[1,{}]}')


def lines_of(count: int, workspace: str = WORKSPACE) -> list[bytes]:
    return [render(event, verification=True) for event in Chain(COMPANY, workspace).events(count)]


def walked(lines: list[bytes], filtered: bool | None = None) -> ExportWalk:
    walk = ExportWalk(filtered=filtered)
    for line in lines:
        walk.take(line)
    return walk


def hashed(event: StoredEvent) -> StoredEvent:
    return replace(event, hash=leaf_hash(leaf_of(event)))


@given(STORED.map(hashed))
def test_every_event_verifies_by_itself(event: StoredEvent) -> None:
    """The walk writes leaves by itself: this is where it must agree with the published layout."""
    assume(event.seq > 1)
    assert walked([render(event, verification=True)]).rows == 1


@given(chains(), st.sampled_from([None, False, True]))
def test_every_chain_verifies(events: list[StoredEvent], filtered: bool | None) -> None:
    walk = walked([render(event, verification=True) for event in events], filtered)
    assert (walk.rows, walk.holes, walk.unproven) == (len(events), 0, 0)
    (stretch,) = walk.stretches
    assert stretch.told() == {
        "workspaceId": events[0].workspace_id,
        "rows": str(len(events)),
        "firstSeq": 1,
        "firstPrevHash": "0" * 64,
        "firstHash": events[0].hash.hex(),
        "lastSeq": len(events),
        "lastHash": events[-1].hash.hex(),
    }


@given(STORED.map(hashed), st.booleans(), st.integers(0, 3))
def test_what_another_tool_wrote_anew_verifies(event: StoredEvent, ascii_only: bool, indent: int) -> None:
    """Other white space, members in another order, other escapes: JSON-equal is equal."""
    assume(event.seq > 1)
    value = json.loads(render(event, verification=True))
    text = json.dumps(_reversed(value), ensure_ascii=ascii_only, indent=None, separators=(", " if indent else ",", " :" if indent else ":"))
    assert walked([text.encode()]).rows == 1


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(item) for key, item in reversed(value.items())}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


@given(chains(min_size=2), st.data())
def test_any_change_of_a_value_is_found(events: list[StoredEvent], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(events) - 1))
    lines = [render(event, verification=True) for event in events]
    value = orjson.loads(lines[number])
    path = data.draw(st.sampled_from(sorted(_leaves(value, ()), key=str)))
    container = value
    for key in path[:-1]:
        container = container[key]
    before = container[path[-1]]
    container[path[-1]] = data.draw(st.sampled_from([None, "x", 7, {}, {"id": "eve"}]).filter(lambda new: new != before))
    lines[number] = orjson.dumps(value)
    assume(path != ("erasedAt",))
    with pytest.raises(BadLine):
        walked(lines, filtered=False)


def _leaves(value: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        return [found for key, item in value.items() for found in _leaves(item, (*path, key))]
    return [path]


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3), st.booleans())
@example(1882, b" ", True)
def test_whatever_bytes_are_changed_nothing_else_is_raised(place: int, new: bytes, proven: bool) -> None:
    line = render(EVENT, verification=proven)
    at = place % len(line)
    changed = line[:at] + new + line[at + len(new) :]
    try:
        walk = walked([changed])
    except BadLine:
        return
    says_the_same = orjson.loads(changed) == orjson.loads(line)
    # A proof under another name is none, and the line is told of as unproven: nobody takes it for a verified one.
    assert says_the_same or walk.unproven == 1, "what still verifies says the same"


@given(st.data())
def test_whatever_value_is_put_anywhere_nothing_else_is_raised(data: st.DataObject) -> None:
    value = orjson.loads(render(EVENT, verification=True))
    path = data.draw(st.sampled_from(sorted({path[:depth] for path in _leaves(value, ()) for depth in range(1, len(path) + 1)})))
    container = value
    for key in path[:-1]:
        container = container[key]
    before, container[path[-1]] = container[path[-1]], data.draw(VALUES)
    if container[path[-1]] != before:
        with pytest.raises(BadLine):
            walked([orjson.dumps(value)])


def test_an_erased_group_verifies_with_its_commitment() -> None:
    event = Chain(COMPANY, WORKSPACE).event()
    assert event.actor
    erased = replace(event, actor=Group(event.actor.commitment, None), erased_at=1)
    assert walked([render(erased, verification=True)]).rows == 1


def _at(number: int, change: Callable[[dict[str, Any]], object]) -> Callable[[list[bytes]], list[bytes]]:
    def changed(lines: list[bytes]) -> list[bytes]:
        value = orjson.loads(lines[number])
        change(value)
        return [*lines[:number], orjson.dumps(value), *lines[number + 1 :]]

    return changed


TAMPERED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int, str]] = {
    "a line dropped": (lambda lines: lines[:2] + lines[3:], 3, "seq"),
    "two swapped": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2, "seq"),
    "one twice": (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "seq"),
    "an action": (_at(2, lambda value: value.update(action="x")), 3, "hash"),
    "a seq that is no number of JSON's": (lambda lines: [lines[0].replace(b'"seq":1,', b'"seq":1.0,')], 1, "hash"),
    "a group": (_at(2, lambda value: value.update(actor={"id": "eve"})), 3, "actor"),
    "a group away": (_at(2, lambda value: value.update(actor=None)), 3, "actor"),
    "a group and its salt away": (
        _at(2, lambda value: (value.update(actor=None), value["verification"]["salts"].update(actor=None))),
        3,
        "actor",
    ),
    "a group more": (_at(2, lambda value: value.update(context={})), 3, "context"),
    "a group that is none": (_at(2, lambda value: value.update(actor=[1])), 3, "actor"),
    "no salt": (_at(2, lambda value: value["verification"]["salts"].update(actor=None)), 3, "actor"),
    "a salt that is none": (_at(2, lambda value: value["verification"]["salts"].update(actor="zz" * 16)), 3, "actor"),
    "a commitment": (_at(2, lambda value: value["verification"]["commitments"].update(actor="00" * 32)), 3, "actor"),
    "a number that JSON does not hold": (_at(2, lambda value: value.update(actor={"id": 2**60})), 3, "actor"),
    "a hash": (_at(2, lambda value: value.update(hash="00" * 32)), 3, "hash"),
    "a layout": (_at(2, lambda value: value["verification"].update(v=2)), 3, "verification.v"),
    "a member away": (_at(2, lambda value: value.pop("traceId")), 3, "traceId"),
    "another kind of member": (_at(2, lambda value: value.update(verification=7)), 3, "line"),
    "a member twice": (lambda lines: [lines[0].replace(b'"category":', b'"actor":{"id":"eve"},"category":')], 1, "line"),
    "cut": (lambda lines: [*lines[:2], lines[2][:-9]], 3, "line"),
    "no object": (lambda lines: [*lines[:2], b"[]"], 3, "line"),
    "an empty line": (lambda lines: [*lines[:2], b"", *lines[2:]], 3, "line"),
    "another beginning": (lambda _lines: [_forged(1, b"\1" * 32)], 1, "prevHash"),
    "a beginning before all": (lambda _lines: [_forged(0, bytes(32))], 1, "seq"),
    "another history": (lambda lines: [*lines[:2], _forged(3, b"\1" * 32)], 3, "prevHash"),
    "workspaces out of order": (lambda lines: lines_of(1, LATER) + lines, 2, "workspaceId"),
}


def _forged(seq: int, prev_hash: bytes) -> bytes:
    return render(hashed(replace(Chain(COMPANY, WORKSPACE).event(), seq=seq, prev_hash=prev_hash)), verification=True)


@pytest.mark.parametrize(("change", "line", "field"), TAMPERED.values(), ids=TAMPERED)
def test_the_first_bad_line_is_named(change: Callable[[list[bytes]], list[bytes]], line: int, field: str) -> None:
    walk = ExportWalk(filtered=False)
    with pytest.raises(BadLine) as caught:
        collections.deque(map(walk.take, change(lines_of(5))), maxlen=0)
    assert (walk.rows + 1, caught.value.field) == (line, field)


def test_a_hole_in_what_may_be_filtered_is_counted() -> None:
    lines = lines_of(6)
    walk = walked([lines[0], lines[2], lines[3], lines[5]], filtered=None)
    assert (walk.rows, walk.holes, walk.first_hole) == (4, 2, "seq 3 follows 1")


HOLE = (WORKSPACE, 2, 5)


def test_a_hole_that_the_manifest_tells_of_parts_two_runs() -> None:
    lines = lines_of(6)
    walk = ExportWalk(filtered=False, told_holes=frozenset({HOLE}))
    collections.deque(map(walk.take, lines[:2] + lines[4:]), maxlen=0)
    assert [(each.first_seq, each.last_seq, each.rows) for each in walk.stretches] == [(1, 2, 2), (5, 6, 2)]
    told = {"workspaces": [each.told() for each in walk.stretches]}
    assert (told_holes(told), list(walk.against(told))) == (frozenset({HOLE}), [])


@pytest.mark.parametrize("kept", [[0, 1, 5], [0, 4, 5], [0, 1, 3, 4, 5], [0, 1, 4, 3]], ids=str)
def test_no_other_hole_is_taken_for_it(kept: list[int]) -> None:
    lines = lines_of(6)
    walk = ExportWalk(filtered=False, told_holes=frozenset({HOLE}))
    with pytest.raises(BadLine, match="seq"):
        collections.deque(map(walk.take, [lines[number] for number in kept]), maxlen=0)


@given(st.lists(st.dictionaries(st.sampled_from(["workspaceId", "firstSeq", "lastSeq"]), VALUES | st.just("x"))))
def test_any_manifest_can_be_asked_for_its_holes(workspaces: list[dict[str, Any]]) -> None:
    told_holes({"workspaces": workspaces})


def test_what_is_nested_too_deep_is_a_bad_line() -> None:
    with pytest.raises(BadLine, match="nested too deep"):
        walked([b'{"x":' + b"[" * 300 + b"]" * 300 + b"}"])


def test_what_follows_on_in_a_filtered_export_has_to_fit() -> None:
    with pytest.raises(BadLine, match="prevHash"):
        walked([lines_of(1)[0], _forged(2, b"\1" * 32)], filtered=True)


def test_a_chain_may_begin_where_purging_ended() -> None:
    assert walked(lines_of(6)[3:], filtered=False).stretches[0].first_seq == 4


def test_workspaces_have_chains_of_their_own() -> None:
    walk = walked(lines_of(2) + lines_of(3, LATER), filtered=False)
    assert [(each.workspace_id, each.rows) for each in walk.stretches] == [(WORKSPACE, 2), (LATER, 3)]


def test_lines_without_verification_have_links_alone() -> None:
    events = Chain(COMPANY, WORKSPACE).events(3)
    lines = [render(event, verification=False) for event in events]
    assert walked(lines).unproven == 3
    with pytest.raises(BadLine, match="prevHash"):
        walked([lines[0], lines[1].replace(events[0].hash.hex().encode(), b"00" * 32)])


def test_a_field_of_the_future_is_ignored() -> None:
    assert walked([lines_of(1)[0][:-1] + b',"new":{"a":[1]}}']).rows == 1


def test_all_groups_are_looked_at() -> None:
    event = Chain(COMPANY, WORKSPACE).event(actor=b"{}", resource=b"{}", context=b"{}", metadata=b"{}")
    for name in GROUPS:
        value = orjson.loads(render(event, verification=True))
        value[name] = {"x": 1}
        with pytest.raises(BadLine, match=name):
            walked([orjson.dumps(value)])
