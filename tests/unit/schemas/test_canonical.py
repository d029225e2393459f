"""Canonical JSON: equal to the rfc8785 package on all that is admissible, and nothing else is let in."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.canonical import MAX_DEPTH, MAX_INTEGER, InvalidJson, canonical, check_duplicates, encode, parse
from tests.unit.schemas.strategies import OBJECTS, SCALARS, TEXT, TRICKY, VALUES

DOUBLES = st.binary(min_size=8, max_size=8).map(lambda bits: float(struct.unpack("d", bits)[0]))
"""Every bit pattern, so every magnitude as often as any other."""


def nested(depth: int, inside: Any = None) -> Any:
    """A value at that many levels, lists and objects by turns."""
    value = inside
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@given(VALUES)
def test_it_is_the_packages_form(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(st.lists(DOUBLES.filter(lambda number: abs(number) <= MAX_INTEGER)))
@example([0.001, 0.0009999999999999998, 1e-5, 9.999e-6, 1e-6, 9.99e-7, 1e-7, -0.0, 5e-324, 2.5e15, 4503599627370495.5, 9007199254740991.0])
@settings(max_examples=500)
def test_floats_of_every_magnitude(numbers: list[float]) -> None:
    assert canonical(numbers) == rfc8785.dumps(numbers)
    for number in numbers:
        assert canonical({"a": number}) == rfc8785.dumps({"a": number})


@given(st.dictionaries(TRICKY, SCALARS, max_size=8), TRICKY)
def test_keys_sort_by_their_utf_16_code_units(members: dict[str, Any], key: str) -> None:
    assert canonical([members, {key: members}]) == rfc8785.dumps([members, {key: members}])


@given(SCALARS, st.integers(0, MAX_DEPTH))
def test_32_levels_are_admissible(inside: Any, depth: int) -> None:
    value = nested(depth, inside)
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("depth", [33, 34, 100, 900])
def test_more_are_not(depth: int) -> None:
    with pytest.raises(InvalidJson, match="32 levels"):
        canonical(nested(depth))


@given(OBJECTS)
def test_the_writer_is_right_for_every_part(value: dict[str, Any]) -> None:
    _, write = encode(value)
    for part in value.values():
        assert write(part) == rfc8785.dumps(part)


@pytest.mark.parametrize(
    "notation", ["9007199254740992", "-9007199254740992", "9007199254740992.0", "9.007199254740992e15", "1e21", "-1e300", "1e308"]
)
@pytest.mark.parametrize("text", ["%s", "[%s]", '{"a":{"b":[0.5,%s]}}'])
def test_integral_numbers_beyond_the_safe_ones_are_refused_in_any_notation(text: str, notation: str) -> None:
    with pytest.raises(InvalidJson, match="must lie within"):
        canonical(parse((text % notation).encode()))


@given(
    DOUBLES.filter(lambda number: math.isfinite(number) and abs(number) > MAX_INTEGER)
    | st.integers(2**53)
    | st.integers(max_value=-(2**53))
)
def test_every_larger_number_is_refused(number: float) -> None:
    with pytest.raises(InvalidJson, match="must lie within"):
        canonical([number])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(InvalidJson):
        canonical({"a": [number]})


@given(TEXT, TEXT, st.sampled_from(["value", "key", "item", "alone"]))
def test_nul_is_refused_wherever_it_stands(before: str, after: str, place: str) -> None:
    text = f"{before}\0{after}"
    value: dict[str, Any] = {"value": {"k": text}, "key": {text: 1}, "item": [0, [text]], "alone": text}
    with pytest.raises(InvalidJson, match=r"U\+0000"):
        canonical(value[place])


@given(st.dictionaries(TEXT | TRICKY, TEXT, min_size=1))
def test_a_backslash_before_u0000_is_not_nul(members: dict[str, str]) -> None:
    value = {key + "\\u0000": text + "\\u0000" for key, text in members.items()}
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": {"b": [1, 2**53]}}, ("a", "b", 1)),
        ([{"a": "\0"}], (0, "a")),
        ({"a": [{"b\0": 1}]}, ("a", 0, "b\\u0000")),
        ({"a": {"b": 1e300}}, ("a", "b")),
        (2**53, ()),
    ],
)
def test_the_path_leads_to_the_value(value: Any, path: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidJson) as refused:
        canonical(value)
    assert refused.value.path == path


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_parse_agrees_with_the_standard_library(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    # Compared as text too: 1 and 1.0 are equal in Python.
    assert repr(parse(text.encode())) == repr(json.loads(text))


@given(st.text(st.sampled_from('{}[]:,"\\u0123dD89aeE+-. truefalsnN\x00\x1f\n\ufeff'), max_size=30) | TEXT)
@settings(max_examples=1000)
def test_texts_that_parse_do_so_alike(text: str) -> None:
    """Whatever ``parse`` lets in, the standard library reads as the same value; it may refuse more (surrogates, NaN, 1e400)."""
    try:
        value = parse(text.encode())
    except InvalidJson:
        return
    assert repr(value) == repr(json.loads(text, parse_int=_integer))


def _integer(digits: str) -> int | float:
    """Those that no 64 bits hold come as doubles, to be refused all the same."""
    return int(digits) if -(2**63) <= int(digits) < 2**64 else float(digits)


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except InvalidJson:
        return
    data.decode()


@pytest.mark.parametrize("code", ["\\ud800", "\\udfff", "\\udc00\\ud800", "\\ud800\\ud800", "\\ud800x"])
@pytest.mark.parametrize("text", ['"%s"', '{"%s":1}'])
def test_lone_surrogates_are_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidJson):
        parse((text % code).encode())


def escaped(text: str, data: st.DataObject) -> str:
    """The text as a JSON string, any of its characters spelled as an escape."""
    return '"' + "".join(_spelled(character, data.draw(st.booleans())) for character in text) + '"'


def _spelled(character: str, escape: bool) -> str:
    if not escape:
        return json.dumps(character, ensure_ascii=False)[1:-1]
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def write_pairs(pairs: list[tuple[str, Any]], data: st.DataObject) -> str:
    return "{" + ",".join(f"{escaped(key, data)}:{escaped(str(value), data)}" for key, value in pairs) + "}"


MEMBERS = st.lists(st.tuples(TRICKY | st.sampled_from(["a", "b", ":", "a:b"]), TRICKY), max_size=5)


@given(MEMBERS, st.data())
@settings(max_examples=500)
def test_a_repeated_key_is_found_however_it_is_spelled(pairs: list[tuple[str, Any]], data: st.DataObject) -> None:
    text = f'[{{"x":{write_pairs(pairs, data)}}},{escaped(data.draw(TRICKY), data)}]'.encode()
    colons = canonical(parse(text)).count(b":")
    keys = [key for key, _ in pairs]
    if len(set(keys)) == len(keys):
        check_duplicates(text, colons)
    else:
        with pytest.raises(InvalidJson, match="stands twice"):
            check_duplicates(text, colons)


@pytest.mark.parametrize(
    "text",
    [
        r'{"a":1,"\u0061":2}',
        r'{"a":1,"a":"\u003a"}',
        r'{"a":"","a":"\u003A"}',
        r'{"\u003a":"\u003a","x":{"b":1,"b":2}}',
        r'[{"a":{"b":[{"c":1,"c":{"d":1}}]}}]',
    ],
)
def test_colons_in_escapes_hide_no_repeat(text: str) -> None:
    with pytest.raises(InvalidJson, match="stands twice"):
        check_duplicates(text.encode(), canonical(parse(text.encode())).count(b":"))


def test_the_path_of_a_repeat() -> None:
    with pytest.raises(InvalidJson) as refused:
        check_duplicates(b'[0,{"a":{"b":1,"b":2}}]', 2)
    assert refused.value.path == (1, "a", "b")


def test_a_repeat_that_hides_a_deep_value_is_refused_too() -> None:
    """The last of two keys is kept, so ``parse`` and ``encode`` never see the depth of the first."""
    text = b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}'
    with pytest.raises(InvalidJson, match="levels deep"):
        check_duplicates(text, canonical(parse(text)).count(b":"))
