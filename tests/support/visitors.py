"""Everybody who might come to the dashboard, seen from one company."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tests.support.neighbours import Neighbourhood

USER_ID = "usr-7"
EMAIL = "grace@dashboard.example"
NOBODYS_COMPANY = "0190163d-8694-739b-aea5-966c26f8ad90"


class Visitor(StrEnum):
    """Who comes."""

    ADMIN = "its admin"
    MEMBER = "its member"
    OPERATOR = "an operator"
    UNKNOWN_ROLE = "its user in a role that there is not"
    OTHER_COMPANY = "another company's admin"
    OTHER_REGION = "the admin of a company of another region"
    NOBODYS = "the admin of no company"
    NO_COMPANY = "an admin who names no company"
    NO_USER = "nobody"
    NO_EMAIL = "somebody without an address"
    NO_TOKEN = "a service without a token"
    WRONG_TOKEN = "a service with another token"


HOME = (Visitor.ADMIN, Visitor.MEMBER, Visitor.OPERATOR, Visitor.UNKNOWN_ROLE)
"""Those who come for the company; what they may not do is told in its audit."""


def headers(visitor: Visitor, street: Neighbourhood, token: str) -> dict[str, str]:
    """What he sends."""
    role = {Visitor.MEMBER: "MEMBER", Visitor.OPERATOR: "HYRELOG_ADMIN", Visitor.UNKNOWN_ROLE: "OWNER"}.get(visitor, "ADMIN")
    company = {
        Visitor.OTHER_COMPANY: street.other_company,
        Visitor.OTHER_REGION: street.company_abroad,
        Visitor.NOBODYS: NOBODYS_COMPANY,
    }.get(visitor, street.home.company_id)
    sent = {"x-dashboard-token": token, "x-user-id": USER_ID, "x-user-email": EMAIL, "x-user-role": role, "x-company-id": company}
    return _without(visitor, sent)


def _without(visitor: Visitor, sent: Mapping[str, str]) -> dict[str, str]:
    missing = {
        Visitor.NO_COMPANY: "x-company-id",
        Visitor.NO_USER: "x-user-id",
        Visitor.NO_EMAIL: "x-user-email",
        Visitor.NO_TOKEN: "x-dashboard-token",
    }.get(visitor)
    wrong = {"x-dashboard-token": "f" * 64} if visitor is Visitor.WRONG_TOKEN else {}
    return {name: value for name, value in {**sent, **wrong}.items() if name != missing}
