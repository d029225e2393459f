"""Which S3 endpoints are AWS's own: nothing may be simulated there."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote, urlsplit

_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws", "aws.dev", "c2s.ic.gov", "sc2s.sgov.gov")
"""Of all partitions; endpoints within VPCs are below them."""


def is_aws(endpoint: str | None) -> bool:
    """Whether an endpoint is AWS's; also where that can't be ruled out, as none is given, or one whose host can't be read."""
    try:
        host = urlsplit(endpoint or "").hostname or ""
    except ValueError:
        return True
    # As whoever looks the name up reads it: full stops of other scripts are dots, and so are escaped ones.
    name = unicodedata.normalize("NFKC", unquote(host)).casefold().replace("\u3002", ".").rstrip(".")
    return not name or any(name == domain or name.endswith(f".{domain}") for domain in _DOMAINS)
