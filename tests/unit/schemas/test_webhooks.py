"""Webhooks by their rules: signatures that others' libraries accept, filters, and when to try again."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass
from email.utils import format_datetime, formatdate
from fnmatch import translate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from schemas import webhooks
from schemas.event import format_time
from schemas.ids import is_uuid, received_at
from schemas.view import render
from schemas.webhooks import BadFilter, Filters, Pattern, Secrets, make_secret, next_delay, parse_retry_after, secret_key
from tests.unit.schemas.strategies import UUIDS
from tests.unit.schemas.test_view import EVENTS

ENTROPY = st.binary(min_size=32, max_size=32)
SECRETS = ENTROPY.map(make_secret)
BODIES = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
STEPS = (60.0, 300.0, 1800.0, 21600.0)
NOW = 1_764_000_000_000_000
ID = "0198c0de-0000-7000-8000-00000000000a"


@dataclass(frozen=True)
class Doing:
    """What filters look at of an event."""

    category: str = "user"
    action: str = "user.login"


class TestSecrets:
    @given(ENTROPY)
    def test_the_key_is_what_the_secret_was_made_of(self, entropy: bytes) -> None:
        assert secret_key(make_secret(entropy)) == entropy

    def test_takes_32_bytes(self) -> None:
        with pytest.raises(ValueError, match="32 random bytes"):
            make_secret(bytes(24))

    @pytest.mark.parametrize("text", ["", "whsec_", "whsec_!" + "A" * 43, "whsec_" + "A" * 32, make_secret(bytes(32))[6:], "whsec_ä"])
    def test_what_is_none_is_not_quoted(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^not a webhook secret$"):
            secret_key(text)

    def test_are_not_shown(self) -> None:
        assert "whsec" not in repr(Secrets(make_secret(bytes(32)), make_secret(bytes(32))))


class TestDeliveryId:
    @given(UUIDS, UUIDS, st.integers(0, 2**47 * 1000))
    def test_is_a_uuid_of_the_events_time_and_always_the_same(self, webhook: str, event: str, at: int) -> None:
        found = webhooks.delivery_id(webhook, event, at)
        assert is_uuid(found)
        assert found[14] == "7"
        assert found[19] in "89ab"
        assert received_at(found) == at // 1000 * 1000
        assert found == webhooks.delivery_id(webhook, event, at)

    @given(UUIDS, UUIDS, UUIDS)
    def test_differs_by_endpoint_and_by_event(self, one: str, other: str, event: str) -> None:
        assert (webhooks.delivery_id(one, event, NOW) == webhooks.delivery_id(other, event, NOW)) == (one == other)
        assert (webhooks.delivery_id(event, one, NOW) == webhooks.delivery_id(event, other, NOW)) == (one == other)

    def test_stays_what_it_is(self) -> None:
        """Receivers know repeats by it, from one release to the next."""
        assert webhooks.delivery_id(ID, ID, NOW) == "019ab697-e800-7257-a212-7c58d3021ff1"


class TestBodies:
    @given(EVENTS)
    def test_an_event_is_told_as_queries_tell_it(self, event: Any) -> None:
        assert json.loads(webhooks.event_body(event)) == {
            "type": "AUDIT_EVENT_CREATED",
            "timestamp": format_time(event.received_at),
            "data": json.loads(render(event, verification=False)),
        }

    def test_a_test_tells_of_no_event(self) -> None:
        assert json.loads(webhooks.test_body(ID, NOW)) == {
            "type": "WEBHOOK_TEST",
            "timestamp": "2025-11-24T16:00:00.000000Z",
            "data": {"webhookId": ID},
        }


def headers(secrets: Secrets, body: bytes, at: int | None = None) -> dict[str, str]:
    return webhooks.signed_headers(secrets, delivery_id=ID, timestamp=int(time.time()) if at is None else at, body=body)


def accepts(secret: str, body: bytes, signed: dict[str, str]) -> bool:
    """As the library of Standard Webhooks sees it."""
    try:
        Webhook(secret).verify(body, signed, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def plain(secret: str, body: bytes) -> str:
    """As the predecessor's customers compute it."""
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class TestSignatures:
    @given(SECRETS, BODIES)
    def test_both_are_right(self, secret: str, body: bytes) -> None:
        signed = headers(Secrets(secret), body)
        assert accepts(secret, body, signed)
        assert signed["x-hyrelog-signature"] == plain(secret, body)
        assert signed["x-hyrelog-delivery-id"] == signed["webhook-id"] == ID
        assert signed["x-hyrelog-timestamp"] == signed["webhook-timestamp"]

    @given(ENTROPY, ENTROPY, BODIES)
    def test_in_an_overlap_either_secret_accepts_and_the_plain_one_is_the_old(self, one: bytes, other: bytes, body: bytes) -> None:
        new, old = make_secret(one), make_secret(other)
        signed = headers(Secrets(new, old), body)
        assert accepts(new, body, signed)
        assert accepts(old, body, signed)
        assert (
            signed["webhook-signature"].split(" ")[0] == headers(Secrets(new), body, int(signed["webhook-timestamp"]))["webhook-signature"]
        )
        assert signed["x-hyrelog-signature"] == plain(old, body)

    def test_id_and_time_are_signed_too(self) -> None:
        secret, now = make_secret(bytes(range(32))), int(time.time())
        good = headers(Secrets(secret), b"{}", now)
        assert accepts(secret, b"{}", good)
        for change in ({"webhook-id": ID[:-1] + "b"}, {"webhook-timestamp": str(now - 1)}, {"webhook-signature": "v1,AAAA"}):
            assert not accepts(secret, b"{}", good | change)

    def test_stay_what_they_are(self) -> None:
        """A request that was written down: neither scheme may drift."""
        secret = make_secret(bytes(range(32)))
        assert headers(Secrets(secret), b'{"type":"WEBHOOK_TEST"}', 1_764_000_000) == {
            "webhook-id": ID,
            "webhook-timestamp": "1764000000",
            "webhook-signature": "v1,fbyl8BhoP/kWWuBf8v7cxAHucBh/f1GhWKpM5T+st7E=",
            "x-hyrelog-signature": "v1=42adcc74ff9470ad17b17dd22133e1b22c0bf83415e65bab8043251ea5188a3d",
            "x-hyrelog-timestamp": "1764000000",
            "x-hyrelog-delivery-id": ID,
        }


PATTERNS = st.text(st.sampled_from("ab.*"), min_size=1, max_size=12).filter(lambda text: text.count("*") <= 3)


class TestFilters:
    @given(PATTERNS, st.text(st.sampled_from("ab."), max_size=16))
    def test_a_star_is_any_run_of_characters(self, pattern: str, text: str) -> None:
        assert Pattern.of(pattern).fits(text) == bool(re.fullmatch(translate(pattern), text))

    def test_no_text_makes_it_go_back(self) -> None:
        assert not Pattern.of("*a*a*b").fits("a" * 100_000)

    @pytest.mark.parametrize("given", [{}, {"category": None}, {"action": []}, {"category": [], "action": None}])
    def test_none_let_all_pass(self, given: dict[str, Any]) -> None:
        assert Filters.parse(given).matches(Doing())
        assert Filters.parse(given).told() == {}

    @pytest.mark.parametrize(
        ("given", "passes"),
        [
            ({"category": ["user"]}, True),
            ({"category": ["use"]}, False),
            ({"category": ["billing", "u*"]}, True),
            ({"action": ["user.*"]}, True),
            ({"action": ["*.logout", "*.log*n"]}, True),
            ({"action": ["USER.*"]}, False),
            ({"category": ["user"], "action": ["user.delete"]}, False),
            ({"category": ["billing"], "action": ["user.*"]}, False),
            ({"category": ["*"], "action": ["*"]}, True),
        ],
    )
    def test_a_pattern_of_each_field_has_to_fit(self, given: dict[str, Any], passes: bool) -> None:
        assert Filters.parse(given).matches(Doing()) == passes

    @given(st.lists(PATTERNS, max_size=20), st.lists(PATTERNS, max_size=20))
    def test_are_told_as_they_were_given(self, category: list[str], action: list[str]) -> None:
        given = {name: patterns for name, patterns in (("category", category), ("action", action)) if patterns}
        assert Filters.parse(given).told() == given
        assert Filters.parse(Filters.parse(given).told()) == Filters.parse(given)

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"outcome": ["SUCCESS"]}, "filters"),
            ({"category": "user"}, "filters.category"),
            ({"category": [1]}, "filters.category"),
            ({"category": [""]}, "filters.category"),
            ({"category": ["User"]}, "filters.category"),
            ({"category": ["user\n"]}, "filters.category"),
            ({"action": ["user login"]}, "filters.action"),
            ({"action": ["*a*b*c*"]}, "filters.action"),
            ({"action": ["a" * 129]}, "filters.action"),
            ({"action": ["a"] * 21}, "filters.action"),
            ({"action": {"a": 1}}, "filters.action"),
        ],
    )
    def test_what_cannot_be_is_refused_by_its_field(self, given: dict[str, Any], field: str) -> None:
        with pytest.raises(BadFilter) as refused:
            Filters.parse(given)
        assert refused.value.field == field
        assert str(refused.value) == f"{field}: {refused.value.message}"


class TestDelays:
    @pytest.mark.parametrize(("failures", "seconds"), [(1, 60), (2, 300), (3, 1800), (4, 21600), (5, None), (6, None)])
    def test_each_failure_takes_the_next_step_until_there_is_none(self, failures: int, seconds: float | None) -> None:
        assert next_delay(failures, STEPS, None, 0) == seconds

    @given(st.integers(1, 4), st.floats(0, 1), st.none() | st.floats(0, 1e9))
    def test_never_sooner_than_the_step_nor_later_than_a_tenth_behind_the_one_after(
        self, failures: int, jitter: float, retry_after: float | None
    ) -> None:
        delay = next_delay(failures, STEPS, retry_after, jitter)
        latest = STEPS[min(failures, 3)]
        assert delay is not None
        assert STEPS[failures - 1] <= delay <= latest * 1.1 + 1e-6
        assert retry_after is None or delay >= min(retry_after, latest)

    @pytest.mark.parametrize(
        ("failures", "retry_after", "seconds"), [(1, 10, 60), (1, 120, 120), (1, 9999, 300), (4, 10, 21600), (4, 99999, 21600)]
    )
    def test_the_receivers_wish_counts_up_to_the_next_step(self, failures: int, retry_after: float, seconds: float) -> None:
        assert next_delay(failures, STEPS, retry_after, 0) == seconds

    def test_without_steps_there_is_no_second_attempt(self) -> None:
        assert next_delay(1, (), 5, 0.5) is None

    def test_jitter_is_a_tenth_at_most(self) -> None:
        assert next_delay(1, STEPS, None, 1) == pytest.approx(66)


class TestRetryAfter:
    @given(st.integers(0, 10**9))
    def test_seconds(self, seconds: int) -> None:
        assert parse_retry_after(f" {seconds} ", NOW) == seconds

    @given(st.datetimes().filter(lambda moment: moment.year > 1000))
    def test_a_date(self, moment: Any) -> None:
        seconds = (moment.replace(microsecond=0) - type(moment)(1970, 1, 1)).total_seconds()
        assert parse_retry_after(format_datetime(moment).replace("-0000", "GMT"), NOW) == max(0, seconds - NOW / 1e6)

    @pytest.mark.parametrize("date", ["Mon, 24 Nov 2025 16:01:00 GMT", "Monday, 24-Nov-25 16:01:00 GMT", "Mon Nov 24 16:01:00 2025"])
    def test_a_date_in_each_form_of_http(self, date: str) -> None:
        assert parse_retry_after(date, NOW) == 60

    def test_a_date_that_has_passed_is_now(self) -> None:
        assert parse_retry_after(formatdate(0, usegmt=True), NOW) == 0

    @pytest.mark.parametrize(
        "text", [None, "", " ", "soon", "-5", "1.5", "1e3", "٣", "5 s", "9" * 41, "0x10", "Mon, 99 Nov 2025 99:00:00 GMT"]
    )
    def test_nonsense_is_no_wish(self, text: str | None) -> None:
        assert parse_retry_after(text, NOW) is None

    @given(st.text(max_size=60) | st.from_regex(r"[A-Za-z]{3}, [0-9]{1,9} [A-Za-z]{3} [0-9]{1,9} [0-9:]{1,9} [+-][0-9]{1,12}"))
    def test_whatever_comes_is_seconds_or_nothing(self, text: str) -> None:
        found = parse_retry_after(text, NOW)
        assert found is None or found >= 0
