"""What can go wrong with the object store, in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "404"})


class StoreUnavailable(ConnectionError):
    """It can't be reached, is overloaded, or does not know our request: try again later. Whether a write took place is not known."""


class NoCapacity(StoreUnavailable):
    """There is none for an object to be fetched so fast: GlacierExpeditedRetrievalNotAvailable."""


class AlreadyThere(Exception):
    """There is an object of that name, and it stays as it is. It may be our own, of a first try whose answer was lost."""


class NotThere(LookupError):
    """There is no object of that name."""


class Cold(Exception):
    """The object is archived by the store itself, and can't be read before it is restored."""


class Warm(Exception):
    """The object is not archived by the store: there is nothing to restore, it can be read."""


class Denied(PermissionError):
    """Our keys may not do that."""


class Unsupported(Exception):
    """The store has no such function."""


def code_of(error: ClientError) -> str:
    """S3's word for it."""
    code: str = error.response.get("Error", {}).get("Code", "")
    return code


@contextmanager
def told(key: str) -> Iterator[None]:
    """Say in the words above what boto3 raises."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if code in {"PreconditionFailed", "412"}:
            raise AlreadyThere(key) from error
        if code in _ABSENT:
            raise NotThere(key) from error
        if code == "InvalidObjectState":
            raise Cold(key) from error
        if code in {"AccessDenied", "403"}:
            raise Denied(f"{error.operation_name}: {key}") from error
        if code in {"NotImplemented", "501"}:
            raise Unsupported(f"{error.operation_name}: the store has no such function") from error
        if code == "GlacierExpeditedRetrievalNotAvailable":
            raise NoCapacity(f"{error.operation_name}: {code}") from error
        # ConditionalRequestConflict too: somebody wrote that name at the same time, and what came of it is known later.
        raise StoreUnavailable(f"{error.operation_name}: {code}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(type(error).__name__) from error
