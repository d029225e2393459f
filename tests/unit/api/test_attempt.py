"""Who tried what: how a user of the dashboard stands in the audit, and what an id in a path is one of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.attempt import actor_of, kind_of
from ops.auth import User
from schemas.incoming import MAX_EXTRACTED_BYTES

NAMES = st.text(st.characters(codec="utf-8"), max_size=300)


def test_a_user_is_named_by_id_address_and_role() -> None:
    actor = {"id": "usr-1", "type": "user", "email": "ada@example.com", "role": "ADMIN"}
    assert actor_of(User("usr-1", "ada@example.com", "ADMIN")) == actor


def test_what_an_event_has_room_for_is_not_cut() -> None:
    assert actor_of(User("u" * MAX_EXTRACTED_BYTES, "", "é" * 127)).keys() == {"id", "type", "email", "role"}


@pytest.mark.parametrize(
    ("name", "left"), [("u" * 256, "u" * 255), ("é" * 128, "é" * 127), ("€" * 86, "€" * 85), ("x" + "😀" * 64, "x" + "😀" * 63)]
)
def test_what_is_too_long_is_cut_between_characters_and_told_whole_beside_it(name: str, left: str) -> None:
    actor = actor_of(User(name, "ada@example.com", "ADMIN"))
    assert (actor["id"], actor["idInFull"]) == (left, name)
    assert actor.keys() == {"id", "idInFull", "type", "email", "role"}


@given(NAMES, NAMES, NAMES)
def test_nothing_of_a_user_is_lost_and_nothing_is_too_long(user: str, email: str, role: str) -> None:
    actor = actor_of(User(user, email, role))
    for name, whole in (("id", user), ("email", email), ("role", role)):
        cut = actor[name]
        assert actor.get(f"{name}InFull", cut) == whole
        assert len(cut.encode()) <= MAX_EXTRACTED_BYTES
        assert whole.startswith(cut)
        # At a character's edge, and no earlier one than need be.
        assert len(cut) == len(whole) or len(whole[: len(cut) + 1].encode()) > MAX_EXTRACTED_BYTES


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/events/{id}", "event"),
        ("/v1/keys/{id}/rotate", "key"),
        ("/v1/workspaces/{id}/webhooks", "workspace"),
        ("/dashboard/keys/{id}", "key"),
        ("/dashboard/workspaces/{id}/archive", "workspace"),
        ("/dashboard/restore-requests/{id}", "restore-request"),
        ("/dashboard/admin/companies/{id}/plan", "company"),
        ("/dashboard/admin/restore-requests/{id}/approve", "restore-request"),
    ],
)
def test_an_id_is_one_of_what_stands_before_it(path: str, kind: str) -> None:
    assert kind_of(path) == kind
