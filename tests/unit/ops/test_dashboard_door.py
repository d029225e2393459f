"""The dashboard's door: which tokens open what, and whom each request counts against."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from ops.addresses import Proxies
from ops.dashboard_door import NOT_THE_DASHBOARD, DashboardDoor
from ops.limits import NO_LIMIT, Badge, Limits, Visit
from ops.metrics import Metrics
from schemas.problems import Problem, RateLimited, Unauthorized
from tests.support.documents import any_settings
from tests.support.keys import FakeClock

SERVICE, OLD_SERVICE, ADMIN, OLD_ADMIN = (f"{name}-token-of-32-bytes-at-least-".encode() for name in ("new", "old", "admin", "former"))
COMPANIES = (b"0190163d-8694-739b-aea5-966c26f8ad90", b"0190163d-8694-739b-aea5-966c26f8ad91")
ALL = Badge.COMPANIES | Badge.ADMIN


class Case:
    """A door whose clock stands 20 seconds into a minute; it has seen nobody yet."""

    def __init__(
        self,
        service: tuple[bytes, ...] = (SERVICE,),
        admin: tuple[bytes, ...] = (),
        *,
        per_address: int = 2,
        per_user: int = 2,
    ) -> None:
        self.clock = FakeClock()
        self.clock.now = 60_020.0
        self.limits = Limits(per_address, clock=self.clock, metrics=Metrics(CollectorRegistry()))
        self.door = DashboardDoor(service, admin, self.limits, Proxies(()), per_user)

    def enter(
        self,
        token: bytes | None = SERVICE,
        *,
        company: bytes = COMPANIES[0],
        user: bytes = b"u-1",
        peer: str = "192.0.2.1",
        path: str = "/dashboard/company",
    ) -> tuple[Visit, Problem | None]:
        """One request."""
        headers = [(b"x-company-id", company), (b"x-user-id", user), *([] if token is None else [(b"x-dashboard-token", token)])]
        return self.door.enter({"client": (peer, 1), "headers": headers, "path": path})

    def told(self, visit: Visit) -> Mapping[str, str]:
        """The limits that the answer to a visit tells."""
        return {name.decode(): value.decode() for name, value in self.limits.headers(visit)}


def opened(case: Case, token: bytes | None) -> Badge:
    visit, problem = case.enter(token)
    assert (problem is None) == (visit.badge is not Badge.NONE)
    return visit.badge


def told(limit: int, remaining: int) -> dict[str, str]:
    return {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(remaining), "x-ratelimit-reset": "1970-01-01T16:41:00.000000Z"}


# --- tokens --------------------------------------------------------------------------------------


def test_without_an_admin_token_the_services_opens_everything() -> None:
    assert opened(Case(), SERVICE) is ALL


def test_an_admin_token_is_the_only_one_for_admin_routes_and_opens_nothing_else() -> None:
    case = Case(admin=(ADMIN,))
    assert opened(case, SERVICE) is Badge.COMPANIES
    assert opened(case, ADMIN) is Badge.ADMIN


def test_one_token_for_both_opens_both() -> None:
    assert opened(Case(admin=(SERVICE,)), SERVICE) is ALL


def test_tokens_that_are_rotated_out_are_good_beside_the_new_ones() -> None:
    case = Case((SERVICE, OLD_SERVICE), (ADMIN, OLD_ADMIN), per_user=0)
    assert [opened(case, token) for token in (SERVICE, OLD_SERVICE)] == [Badge.COMPANIES] * 2
    assert [opened(case, token) for token in (ADMIN, OLD_ADMIN)] == [Badge.ADMIN] * 2


def test_the_settings_name_the_tokens() -> None:
    names = ("dashboard_service_token", "dashboard_service_token_previous", "dashboard_admin_token", "dashboard_admin_token_previous")
    tokens = (SERVICE, OLD_SERVICE, ADMIN, OLD_ADMIN)
    settings = any_settings().model_copy(
        update={name: SecretStr(token.decode()) for name, token in zip(names, tokens, strict=True)} | {"dashboard_requests_per_minute": 0}
    )
    door = DashboardDoor.of(settings, Case().limits)
    scope = {"client": ("192.0.2.1", 1), "path": "/dashboard/company"}
    badges = [door.enter({**scope, "headers": [(b"x-dashboard-token", token)]})[0].badge for token in tokens]
    assert badges == [Badge.COMPANIES, Badge.COMPANIES, Badge.ADMIN, Badge.ADMIN]


@pytest.mark.parametrize("service", [(), (SERVICE,)])
@pytest.mark.parametrize("token", [None, b"", b" ", SERVICE.upper(), SERVICE[:-1], SERVICE + b" ", b"Bearer " + SERVICE])
def test_no_other_text_opens_anything(service: tuple[bytes, ...], token: bytes | None) -> None:
    """Nothing at all does, where no token is set."""
    visit, problem = Case(service).enter(token)
    assert visit.badge is Badge.NONE
    assert isinstance(problem, Unauthorized)
    assert problem.sentence == NOT_THE_DASHBOARD


@given(st.binary() | st.sampled_from((SERVICE, ADMIN)).flatmap(lambda token: st.integers(0, 32).map(lambda cut: token[cut:] + token[:cut])))
def test_only_exact_tokens_open(token: bytes) -> None:
    case = Case(admin=(ADMIN,))
    assert opened(case, token) is {SERVICE: Badge.COMPANIES, ADMIN: Badge.ADMIN}.get(token, Badge.NONE)


@pytest.mark.parametrize("given", [SERVICE, OLD_ADMIN, b"none of them"])
def test_every_token_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch, given: bytes) -> None:
    """So that the time tells nothing of which one was met."""
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def noted(left: bytes, right: bytes) -> bool:
        compared.append(right)
        return compare(left, right)

    monkeypatch.setattr("ops.dashboard_door.hmac.compare_digest", noted)
    tokens = (SERVICE, OLD_SERVICE, ADMIN, OLD_ADMIN)
    Case(tokens[:2], tokens[2:]).enter(given)
    assert compared == list(tokens)


# --- limits --------------------------------------------------------------------------------------


def test_strangers_are_limited_by_address() -> None:
    case = Case(per_address=2)
    for remaining in (1, 0):
        visit, problem = case.enter(b"wrong", user=str(remaining).encode())
        assert isinstance(problem, Unauthorized)
        assert case.told(visit) == told(2, remaining)
    visit, problem = case.enter(None)
    assert isinstance(problem, RateLimited)
    assert (problem.retry_after, case.told(visit)) == (40, told(2, 0))
    assert isinstance(case.enter(None, peer="192.0.2.2")[1], Unauthorized)


def test_a_good_token_is_never_limited_by_its_address() -> None:
    """It is one service's, behind which all users are."""
    case = Case(per_address=1, per_user=0)
    case.enter(None)
    assert [case.enter()[1] for _ in range(5)] == [None] * 5


def test_users_are_limited_by_company_and_user() -> None:
    case = Case(per_user=2)
    for remaining in (1, 0):
        visit, problem = case.enter()
        assert problem is None
        assert case.told(visit) == told(2, remaining)
    visit, problem = case.enter()
    assert isinstance(problem, RateLimited)
    assert (problem.retry_after, case.told(visit)) == (40, told(2, 0))
    assert case.enter(user=b"u-2")[1] is None
    assert case.enter(company=COMPANIES[1])[1] is None


@pytest.mark.parametrize(
    ("path", "companies"), [("/dashboard/company", (b"", b"nonsense", b"c" * 600)), ("/dashboard/admin/plans", COMPANIES)]
)
def test_no_header_that_nobody_reads_gives_a_user_another_limit(path: str, companies: tuple[bytes, ...]) -> None:
    case = Case(per_user=1)
    assert case.enter(company=companies[0], path=path)[1] is None
    assert all(isinstance(case.enter(company=company, path=path)[1], RateLimited) for company in companies)


def test_a_token_that_is_sent_twice_opens_nothing() -> None:
    """Which of them would count?"""
    headers = [(b"x-dashboard-token", SERVICE)] * 2
    visit, problem = Case().door.enter({"client": ("192.0.2.1", 1), "headers": headers, "path": "/dashboard/company"})
    assert (visit.badge, type(problem)) == (Badge.NONE, Unauthorized)


def test_the_next_minute_begins_anew() -> None:
    case = Case(per_user=1)
    case.enter()
    assert isinstance(case.enter()[1], RateLimited)
    case.clock.now += 40
    assert case.enter()[1] is None


def test_without_limits_the_numbers_are_large_and_never_fall() -> None:
    case = Case(per_address=0, per_user=0)
    for token in (SERVICE, b"wrong"):
        assert [case.told(case.enter(token)[0]) for _ in range(3)] == [told(NO_LIMIT, NO_LIMIT)] * 3
