"""Which S3 endpoints are AWS's own: nothing may be simulated there."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_DOMAINS = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "aws.dev",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
)
"""Of all partitions; endpoints within VPCs are below them."""
_PLAIN = re.compile(r"[A-Za-z0-9.:\[\]_-]+").fullmatch


def is_aws(endpoint: str | None) -> bool:
    """Whether an endpoint is AWS's; also where that can't be ruled out, as none is given, or one whose host can't be read."""
    try:
        address = urlsplit(endpoint or "")
        host = address.hostname or ""
    except ValueError:
        return True
    if not _PLAIN(address.netloc):  # what one reader takes for another host than the next one: escapes, users, other scripts
        return True
    name = host.rstrip(".")
    return not name or any(name == domain or name.endswith(f".{domain}") for domain in _DOMAINS)
