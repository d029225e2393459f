"""The OpenAPI document and its page: whole, and without anything from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from api.app import create_app
from ops.settings import Settings
from schemas.problems import Code


@pytest.fixture
def client() -> httpx.AsyncClient:
    settings = Settings(
        api_key_secret="aB3-key-secret-for-these-tests-0",
        cursor_secret="cD4-cursor-secret-for-the-tests-",
        idempotency_secret="eE5-content-secret-for-the-tests",
        internal_token="eF5-token-of-the-operator-012345",
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(settings)), base_url="http://test")


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set().union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


async def test_reading_and_writing_are_in_one_document(document: dict[str, Any]) -> None:
    assert document["paths"]["/v1/events"].keys() == {"get", "post"}
    assert document["paths"]["/v1/events/batch"].keys() == {"post"}
    assert {"/", "/health", "/ready", "/internal/health", "/internal/metrics", "/internal/rejections"} < document["paths"].keys()


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        _, components, kind, name = reference.split("/")
        assert name in document[components][kind]


async def test_every_answer_but_the_open_ones_tells_of_limits(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        is_open = path in ("/", "/health", "/ready") or path.startswith("/internal/")
        for operation in operations.values():
            told = ["X-RateLimit-Remaining" in answer.get("headers", ()) for answer in operation["responses"].values()]
            assert set(told) == {not is_open}, path
            assert ("429" in operation["responses"]) == (not is_open), path
            assert "403" in operation["responses"] or not operation.get("security"), path


async def test_422_is_nowhere_and_every_status_is_one_of_ours(document: dict[str, Any]) -> None:
    ours = {str(code.status) for code in Code} | {"200", "201", "202", "default"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["responses"].keys() <= ours, path
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_queries_need_a_key_and_schemas_do_not(document: dict[str, Any]) -> None:
    assert document["paths"]["/v1/events"]["get"]["security"] == [{"API key": []}]
    assert document["paths"]["/v1/events"]["post"]["security"] == [{"API key": []}]
    assert "security" not in document["paths"]["/v1/schemas/{fingerprint}"]["get"]


async def test_the_page_shows_every_route_and_loads_nothing(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    page = await client.get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"<script|<link|<img|https?://|style=", page.text)
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page.text


async def test_the_root_says_what_this_is(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).json().keys() == {"service", "version", "status"}
    assert (await client.get("/", params={"x": "1"})).status_code == 400
