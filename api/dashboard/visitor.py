"""Who is at the dashboard, as its service says in headers (contract §2, Management)."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from ops.auth import User
from schemas.problems import invalid

USER_ID, USER_EMAIL, USER_ROLE, COMPANY_ID = "x-user-id", "x-user-email", "x-user-role", "x-company-id"
MAX_CHARACTERS = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]").search


def user_of(headers: Headers) -> User:
    """The user. Raises ``ValidationFailed`` naming the header that is missing or can't be meant."""
    return User(*(_value(headers, name) for name in (USER_ID, USER_EMAIL, USER_ROLE)))


def company_of(headers: Headers) -> str:
    """The company that is meant, which may be none. Raises ``ValidationFailed``."""
    return _value(headers, COMPANY_ID)


def _value(headers: Headers, name: str) -> str:
    values = headers.getlist(name)
    if len(values) > 1:
        raise invalid(name, "is sent more than once")
    try:
        text = "".join(values).encode("latin-1").decode()  # bytes, by way of the framework
    except UnicodeDecodeError:
        raise invalid(name, "is not UTF-8") from None
    if len(text) > MAX_CHARACTERS or _CONTROL(text):
        raise invalid(name, f"must be at most {MAX_CHARACTERS} characters, none of which is a control")
    if not text.strip():
        raise invalid(name, "is missing: it says who acts, and for whom")
    return text
