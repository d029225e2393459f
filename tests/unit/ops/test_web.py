"""What all our HTTP answers have in common: trace ids, the error shape, logs and metrics without secrets."""

from __future__ import annotations

import re
from typing import Annotated, Any

import httpx
import pytest
import structlog
from fastapi import FastAPI, Query
from prometheus_client import CollectorRegistry

from ops import web
from ops.metrics import Metrics
from schemas.problems import Forbidden

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def traced(*headers: tuple[str, str]) -> str:
    return web.trace_id([(name.encode(), value.encode()) for name, value in headers])


def test_a_valid_traceparent_comes_first() -> None:
    assert traced(("x-trace-id", OTHER), ("traceparent", PARENT)) == TRACE


def test_else_a_valid_x_trace_id() -> None:
    assert traced(("traceparent", "garbage"), ("x-trace-id", OTHER)) == OTHER


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("traceparent", PARENT.upper()),),
        (("traceparent", f"ff-{TRACE}-b7ad6b7169203331-01"),),
        (("traceparent", f"00-{'0' * 32}-b7ad6b7169203331-01"),),
        (("traceparent", f"00-{TRACE}-{'0' * 16}-01"),),
        (("traceparent", PARENT + "-extra"),),
        (("traceparent", PARENT + "\n"),),
        (("traceparent", PARENT[:-1]),),
        (("x-trace-id", OTHER.upper()),),
        (("x-trace-id", OTHER[:-1]),),
        (("x-trace-id", "0" * 32),),
        (("x-trace-id", OTHER + "\n"),),
    ],
)
def test_anything_else_is_ignored_and_an_id_made(headers: tuple[tuple[str, str], ...]) -> None:
    made = traced(*headers)
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert made not in (TRACE, OTHER)


def test_a_traceparent_of_a_later_version_may_say_more() -> None:
    """W3C Trace Context §3.2.4."""
    assert traced(("traceparent", f"01-{TRACE}-b7ad6b7169203331-01-more")) == TRACE
    assert traced(("traceparent", f"01-{TRACE}-b7ad6b7169203331-01more")) != TRACE


class Site:
    """A small app with our edge, and a client to it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        app = FastAPI()
        web.install(app, Metrics(self.registry))

        @app.get("/things/{name}")
        async def thing(name: str, limit: Annotated[int, Query(le=5)] = 1) -> dict[str, str]:
            if name == "forbidden":
                raise Forbidden
            if name == "broken":
                raise RuntimeError("password=hunter2")
            return {"name": name}

        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)


@pytest.fixture
def site() -> Site:
    return Site()


async def test_every_answer_carries_the_trace_id(site: Site) -> None:
    for path in ("/things/a", "/things/forbidden", "/things/broken", "/nowhere"):
        assert (await site.get(path, headers={"traceparent": PARENT})).headers["x-trace-id"] == TRACE


async def test_a_problem_is_answered_in_the_one_shape(site: Site) -> None:
    answer = await site.get("/things/forbidden", headers={"x-trace-id": OTHER})
    assert answer.status_code == 403
    assert answer.json() == {"error": "This key may not do that.", "code": "FORBIDDEN", "traceId": OTHER}


async def test_an_unknown_path_and_method_have_the_shape_too(site: Site) -> None:
    missing, wrong = await site.get("/nowhere"), await site.client.post("/things/a")
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    assert (wrong.status_code, wrong.json()["code"], wrong.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "GET")


async def test_invalid_parameters_are_400_and_named(site: Site) -> None:
    answer = await site.get("/things/a", params={"limit": "9"})
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"][0]["field"] == "limit"


async def test_a_500_never_shows_the_exception(site: Site) -> None:
    answer = await site.get("/things/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
    assert "hunter2" not in answer.text


async def test_the_access_log_has_the_route_template_and_no_path_or_query(site: Site) -> None:
    with structlog.testing.capture_logs() as lines:
        await site.get("/things/some-secret-id", params={"limit": "1"})
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/things/{name}", 200)
    assert "some-secret-id" not in str(line)
    assert "limit" not in str(line)


async def test_latency_is_measured_by_route_template_and_status(site: Site) -> None:
    await site.get("/things/a")
    await site.get("/nowhere/at/all")
    count = "hyrelog_http_request_seconds_count"
    assert site.registry.get_sample_value(count, {"method": "GET", "route": "/things/{name}", "status": "200"}) == 1
    assert site.registry.get_sample_value(count, {"method": "GET", "route": "unmatched", "status": "404"}) == 1


async def test_methods_nobody_knows_share_one_label(site: Site) -> None:
    await site.client.request("INVENTED", "/things/a")
    sample = {"method": "OTHER", "route": "/things/{name}", "status": "405"}
    assert site.registry.get_sample_value("hyrelog_http_request_seconds_count", sample) == 1
