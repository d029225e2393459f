#!/usr/bin/env bash
# The package rfc8785 writes whole doubles beyond 2^53 as integers, and refuses those integers when the text is read again.
#
# Expected: canonical JSON is a fixed point: parse it, canonicalise it, and the same bytes are there. Every auditor does so.
# Seen: rfc8785.dumps(1e17) is `100000000000000000`, as RFC 8785 §3.2.2.3 demands of a double. Python's json reads that as an
#   int, and an int beyond ±(2^53-1) is an IntegerDomainError. Below it, the fixed point holds. Sorted orjson, the usual quick
#   way to canonical JSON, writes the same doubles as `1e17`, and so another hash.
# Matters: an event that was accepted and hashed cannot be verified later by the very package that hashed it.
# HyreLog: schemas/canonical.py refuses numbers of integral value beyond ±(2^53-1) whatever their notation, 1e17 too, with 400.

. "$(dirname "$0")/lib.sh"
python_packages rfc8785==0.1.4 orjson==3.13.0

seen=$("$python" - <<'PY'
import json

import orjson
import rfc8785

for number in (1e15, 2.0**53, 1e17):
    text = rfc8785.dumps({"n": number})
    try:
        again = "the same" if rfc8785.dumps(json.loads(text)) == text else "other bytes"
    except rfc8785.CanonicalizationError as error:
        again = type(error).__name__
    by_orjson = orjson.dumps({"n": number}, option=orjson.OPT_SORT_KEYS)
    print(f"{number!r}: {text.decode()}, read and written again: {again}; orjson: {by_orjson.decode()}")
PY
)
conclude "$seen" <<'EOF'
1000000000000000.0: {"n":1000000000000000}, read and written again: the same; orjson: {"n":1000000000000000.0}
9007199254740992.0: {"n":9007199254740992}, read and written again: IntegerDomainError; orjson: {"n":9007199254740992.0}
1e+17: {"n":100000000000000000}, read and written again: IntegerDomainError; orjson: {"n":1e+17}
EOF
