"""Who is at the dashboard, as headers say: each of them once, whole, and readable; or a 400 that names the one that is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from api.dashboard.visitor import COMPANY_ID, MAX_CHARACTERS, USER_EMAIL, USER_ID, USER_ROLE, company_of, user_of
from ops.auth import User
from schemas.problems import ValidationFailed

SENT = {USER_ID: b"usr-1", USER_EMAIL: b"ada@example.com", USER_ROLE: b"ADMIN", COMPANY_ID: b"0190163d-8694-739b-aea5-966c26f8ad90"}
CONTROLS = [chr(each) for each in (*range(0x20), *range(0x7F, 0xA0))]
READABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=MAX_CHARACTERS).filter(str.strip)


def headers(**changed: bytes | None) -> Headers:
    """Those of a good request, but for some; ``None`` leaves one out."""
    sent = SENT | {f"x-{name.replace('_', '-')}": value for name, value in changed.items()}
    return Headers(raw=[(name.encode(), value) for name, value in sent.items() if value is not None])


def refused(sent: Headers) -> tuple[str | None, str]:
    """The finding: which header, and what of it."""
    with pytest.raises(ValidationFailed) as caught:
        assert (user_of(sent), company_of(sent)) is None
    (finding,) = caught.value.details
    return finding.field, finding.message


def test_each_is_read() -> None:
    assert user_of(headers()) == User("usr-1", "ada@example.com", "ADMIN")
    assert company_of(headers()) == SENT[COMPANY_ID].decode()


def test_a_role_that_there_is_not_is_read_too() -> None:
    """It is refused as a role, with 403."""
    assert user_of(headers(user_role=b"OWNER")).role == "OWNER"


@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize("value", [None, b"", b" ", b"   ", "\u3000".encode()])
def test_one_that_says_nothing_is_missing(name: str, value: bytes | None) -> None:
    assert refused(headers(**{name[2:]: value})) == (name, "is missing: it says who acts, and for whom")


@pytest.mark.parametrize("name", SENT)
def test_one_that_is_sent_twice_is_refused(name: str) -> None:
    """Even with the same value: nobody knows who put the second one there."""
    twice = Headers(raw=[*headers().raw, (name.encode(), SENT[name])])
    assert refused(twice) == (name, "is sent more than once")


@pytest.mark.parametrize("name", SENT)
def test_256_characters_are_the_most(name: str) -> None:
    """Characters, not bytes: names are as long in any script."""
    longest = "é" * MAX_CHARACTERS
    sent = headers(**{name[2:]: longest.encode()})
    user = user_of(sent)
    assert longest in (user.id, user.email, user.role, company_of(sent))
    assert refused(headers(**{name[2:]: f"{longest}é".encode()}))[0] == name


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: f"U+{ord(control):04X}")
def test_no_control_gets_through(control: str) -> None:
    """C0, DEL and C1: they would end lines in logs, or change how a terminal shows them."""
    found = refused(headers(user_id=f"usr{control}1".encode()))
    assert found == (USER_ID, f"must be at most {MAX_CHARACTERS} characters, none of which is a control")


@pytest.mark.parametrize("value", [b"\xff", b"caf\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe2\x82"])
def test_bytes_that_are_no_utf8_are_refused(value: bytes) -> None:
    """Overlong forms and surrogates are none."""
    assert refused(headers(user_email=value)) == (USER_EMAIL, "is not UTF-8")


@given(READABLE, READABLE)
def test_names_of_any_script_are_read_as_they_are(user: str, email: str) -> None:
    assert user_of(headers(user_id=user.encode(), user_email=email.encode())) == User(user, email, "ADMIN")


@given(st.binary(max_size=1100))
def test_whatever_is_sent_is_read_whole_or_refused(value: bytes) -> None:
    """And what is read is fit for a log."""
    try:
        found = user_of(headers(user_id=value)).id
    except ValidationFailed:
        return
    assert found.encode() == value
    assert found.strip()
    assert len(found) <= MAX_CHARACTERS
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", found)
