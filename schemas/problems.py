"""Errors are part of the API: every answer that is not a success, its status, code and body (contract §2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

import orjson

RETRY_AFTER_SECONDS = 2


class Code(StrEnum):
    """The stable codes clients may switch on, each with its HTTP status."""

    status: int

    def __new__(cls, code: str, status: int) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status = status
        return member

    VALIDATION_ERROR = "VALIDATION_ERROR", 400
    UNAUTHORIZED = "UNAUTHORIZED", 401
    FORBIDDEN = "FORBIDDEN", 403
    PLAN_RESTRICTED = "PLAN_RESTRICTED", 403
    PLAN_LIMIT_EXCEEDED = "PLAN_LIMIT_EXCEEDED", 403
    RETENTION_WINDOW_EXCEEDED = "RETENTION_WINDOW_EXCEEDED", 403
    WORKSPACE_ARCHIVED = "WORKSPACE_ARCHIVED", 403
    NOT_FOUND = "NOT_FOUND", 404
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED", 405
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT", 408
    CONFLICT = "CONFLICT", 409
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT", 409
    RESTORE_REQUIRED = "RESTORE_REQUIRED", 409
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE", 413
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE", 415
    RATE_LIMITED = "RATE_LIMITED", 429
    INTERNAL_ERROR = "INTERNAL_ERROR", 500
    UNAVAILABLE = "UNAVAILABLE", 503


@dataclass(frozen=True, slots=True)
class Detail:
    """One finding: what is wrong, in which event of a batch (from 0), in which field."""

    message: str
    field: str | None = None
    index: int | None = None

    def members(self) -> dict[str, str | int]:
        """The JSON members, without those that do not apply."""
        pairs = (("index", self.index), ("field", self.field), ("message", self.message))
        return {name: value for name, value in pairs if value is not None}


class Problem(Exception):
    """The request failed."""

    code: ClassVar[Code]

    def __init__(self, sentence: str | None = None, *, details: tuple[Detail, ...] = (), retry_after: int | None = None) -> None:
        """``sentence`` defaults to the first line of the class's docstring; ``retry_after`` is in seconds."""
        self.sentence = sentence or (type(self).__doc__ or "").partition("\n")[0]
        self.details = details
        self.retry_after = retry_after
        super().__init__(self.sentence)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.code.status

    def body(self, trace_id: str) -> bytes:
        """The JSON body of the answer."""
        body: dict[str, Any] = {"error": self.sentence, "code": self.code.value}
        if self.details:
            body["details"] = [detail.members() for detail in self.details]
        return orjson.dumps(body | self.members() | {"traceId": trace_id})

    def members(self) -> dict[str, Any]:
        """What else the body tells, of this kind of problem."""
        return {}

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The answer's headers, but for its trace id and length."""
        headers = [(b"content-type", b"application/json")]
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after))
        return headers


class ValidationFailed(Problem):
    """The request is not valid."""

    code = Code.VALIDATION_ERROR


class Unauthorized(Problem):
    """A valid API key is required."""

    code = Code.UNAUTHORIZED

    def headers(self) -> list[tuple[bytes, bytes]]:
        """With the challenge that RFC 9110 §15.5.2 asks of a 401."""
        return [*super().headers(), (b"www-authenticate", b"Bearer")]


class Forbidden(Problem):
    """This key may not do that."""

    code = Code.FORBIDDEN


class PlanRestricted(Problem):
    """The company's plan does not include this."""

    code = Code.PLAN_RESTRICTED


class PlanLimitExceeded(Problem):
    """The company has as much of this as its plan allows."""

    code = Code.PLAN_LIMIT_EXCEEDED


class RetentionWindowExceeded(Problem):
    """No archive goes back that far."""

    code = Code.RETENTION_WINDOW_EXCEEDED


class WorkspaceArchived(Problem):
    """The workspace is archived: it takes no more events."""

    code = Code.WORKSPACE_ARCHIVED


class NotFound(Problem):
    """There is nothing here."""

    code = Code.NOT_FOUND


class MethodNotAllowed(Problem):
    """The method is not allowed here."""

    code = Code.METHOD_NOT_ALLOWED

    def __init__(self, allow: str) -> None:
        """``allow`` lists the methods that are, comma separated (RFC 9110 §15.5.6)."""
        super().__init__()
        self.allow = allow

    def headers(self) -> list[tuple[bytes, bytes]]:
        """With the methods that are allowed."""
        return [*super().headers(), (b"allow", self.allow.encode())]


class RequestTimeout(Problem):
    """The request body arrived too slowly."""

    code = Code.REQUEST_TIMEOUT


class Conflict(Problem):
    """What is there now does not allow that."""

    code = Code.CONFLICT


class IdempotencyConflict(Problem):
    """The idempotency key was used before, for an event with other content."""

    code = Code.IDEMPOTENCY_CONFLICT


class RestoreRequired(Problem):
    """What is asked for is in cold archives: have them restored first."""

    code = Code.RESTORE_REQUIRED

    def __init__(self, archive_ids: Sequence[str]) -> None:
        """``archive_ids`` names the archives."""
        super().__init__()
        self.archive_ids = tuple(archive_ids)

    def members(self) -> dict[str, Any]:
        """Which archives these are."""
        return {"archiveIds": list(self.archive_ids)}


class PayloadTooLarge(Problem):
    """The request body is too large."""

    code = Code.PAYLOAD_TOO_LARGE


class UnsupportedMediaType(Problem):
    """The content type or coding is not supported."""

    code = Code.UNSUPPORTED_MEDIA_TYPE


class RateLimited(Problem):
    """Too many requests: try again later."""

    code = Code.RATE_LIMITED

    def __init__(self, sentence: str | None = None, *, retry_after: int) -> None:
        super().__init__(sentence, retry_after=retry_after)


class Unavailable(Problem):
    """The service can't answer now: try again."""

    code = Code.UNAVAILABLE

    def __init__(self, sentence: str | None = None, *, retry_after: int = RETRY_AFTER_SECONDS) -> None:
        super().__init__(sentence, retry_after=retry_after)


class InternalError(Problem):
    """Something went wrong on our side."""

    code = Code.INTERNAL_ERROR


def invalid(field: str | None, message: str, index: int | None = None) -> ValidationFailed:
    """A 400 with one finding."""
    return ValidationFailed(details=(Detail(message, field, index),))
