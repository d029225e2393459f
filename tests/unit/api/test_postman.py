"""The Postman collection: the one that the document gives, whole, and in an order that can run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.document import operations_of
from api.postman import collection, text
from ops.local.envfile import postman_environment
from tests.support.documents import document

FILE = Path(__file__).parents[3] / "ops" / "docs" / "hyrelog.postman_collection.json"
TOKENS = ("WORKSPACE_KEY", "COMPANY_KEY", "INTERNAL_TOKEN", "DASHBOARD_TOKEN")
OF_DEMO = {f"HYRELOG_{name}": name for name in ("URL", *TOKENS, "COMPANY_ID", "WORKSPACE_ID", "PROJECT_ID")}


@pytest.fixture
def made() -> dict[str, Any]:
    return collection(document())


def requests(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for folder in made["item"] for item in folder["item"]]


def is_set(item: dict[str, Any]) -> set[str]:
    """The variables that an answer sets."""
    (test,) = (each["script"]["exec"] for each in item["event"] if each["listen"] == "test")
    return set(re.findall(r'collectionVariables\.set\("(\w+)"', "".join(test)))


def test_the_file_is_the_one_that_the_document_gives() -> None:
    """If not: ``python -m api.postman > ops/docs/hyrelog.postman_collection.json``."""
    assert FILE.read_bytes() == text(document())


def test_every_operation_is_in_it_once(made: dict[str, Any]) -> None:
    """But for the tail, which has no end."""
    summaries = [operation["summary"] for path, _, operation in operations_of(document()) if path != "/v1/events/tail"]
    assert sorted(item["name"] for item in requests(made)) == sorted(summaries)


def test_every_variable_is_there_before_it_is_used(made: dict[str, Any]) -> None:
    environment = orjson.loads(postman_environment(OF_DEMO))
    known = {each["key"] for each in environment["values"]} | {"fingerprint"}
    assert known <= {each["key"] for each in made["variable"]}
    for item in requests(made):
        assert set(re.findall(r"{{(\w+)}}", orjson.dumps(item["request"]).decode())) <= known, item["name"]
        known |= is_set(item)


def test_what_was_given_is_never_set(made: dict[str, Any]) -> None:
    """What the dashboard makes and archives, or puts on another plan, is not what its user named."""
    given = {each["key"] for each in orjson.loads(postman_environment(OF_DEMO))["values"]}
    for item in requests(made):
        assert not given & is_set(item)
    for folder in made["item"]:
        urls = [item["request"]["url"]["raw"] for item in folder["item"] if item["request"]["method"] != "GET"]
        assert folder["name"] not in ("dashboard", "admin") or not [url for url in urls if set(re.findall(r"{{(\w+)}}", url[11:])) & given]


def test_what_ends_a_thing_is_the_last_that_is_done_to_it(made: dict[str, Any]) -> None:
    for folder in made["item"]:
        urls = [(item["request"]["method"], item["request"]["url"]["raw"]) for item in folder["item"]]
        for place, (method, url) in enumerate(urls):
            if method == "DELETE" or url.endswith("/revoke"):
                named = url.removesuffix("/revoke")
                assert not [other for _, other in urls[place + 1 :] if other.startswith(named)]


def test_what_is_decided_is_asked_for_anew_by_another_user(made: dict[str, Any]) -> None:
    """Nobody may approve what he asked for, and nothing is decided twice."""
    items = {item["name"]: item for item in requests(made)}
    for name in ("Approve a restore request", "Reject a restore request"):
        (before,) = ("\n".join(each["script"]["exec"]) for each in items[name]["event"] if each["listen"] == "prerequest")
        (user,) = (each["value"] for each in items[name]["request"]["header"] if each["key"] == "x-user-id")
        assert "{{baseUrl}}/dashboard/restore-requests" in before
        assert "{{archiveId}}" in before
        assert user not in before


def test_the_dashboards_requests_say_who_acts_and_for_whom(made: dict[str, Any]) -> None:
    for folder in made["item"]:
        if folder["name"] in ("dashboard", "admin"):
            for item in folder["item"]:
                sent = {each["key"]: each["value"] for each in item["request"]["header"] if not each.get("disabled")}
                assert {"x-user-id", "x-user-email"} < sent.keys()
                assert sent["x-user-role"] == {"dashboard": "ADMIN", "admin": "HYRELOG_ADMIN"}[folder["name"]]
                assert sent.get("x-company-id") == {"dashboard": "{{companyId}}", "admin": None}[folder["name"]]


def test_bodies_are_json_and_keys_are_variables(made: dict[str, Any]) -> None:
    for item in requests(made):
        if "body" in item["request"]:
            orjson.loads(item["request"]["body"]["raw"])
        auth = item["request"]["auth"]
        assert auth["type"] == "noauth" or "{{" in orjson.dumps(auth).decode()
