#!/usr/bin/env bash
# uvicorn gives an app `k1 ` with httptools and `k1` with h11, for the same header of the same request.
#
# Expected: white space around a header's value is no part of it (RFC 9110 §5.5), so uvicorn's two parsers hand over the same
#   value, and installing httptools changes speed alone.
# Seen: httptools leaves out what stands before the value and keeps the spaces and tabs behind it.
# Matters: a client that writes a blank behind `Idempotency-Key: k1` gets a second event for one key, and only on servers where
#   httptools is installed: uvicorn takes it by itself then. Proxies like nginx trim, so it shows only without them.
# HyreLog: ops/serve.py trims every value before the app sees it.

. "$(dirname "$0")/lib.sh"
python_packages uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0

seen=$("$python" - <<'PY'
import asyncio
import socket

import uvicorn


async def app(scope, receive, send):
    body = repr([value.decode() for name, value in scope["headers"] if name == b"idempotency-key"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def ask(parser, header):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=parser, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    server.should_exit = True
    await serving
    return answer.rpartition(b"\r\n")[2].decode()


for header in (b"Idempotency-Key: k1", b"Idempotency-Key:  \tk1", b"Idempotency-Key: k1 ", b"Idempotency-Key: k1\t"):
    print(header, "->", *[f"{parser} {asyncio.run(ask(parser, header))}" for parser in ("h11", "httptools")])
PY
)
conclude "$seen" <<'EOF'
b'Idempotency-Key: k1' -> h11 ['k1'] httptools ['k1']
b'Idempotency-Key:  \tk1' -> h11 ['k1'] httptools ['k1']
b'Idempotency-Key: k1 ' -> h11 ['k1'] httptools ['k1 ']
b'Idempotency-Key: k1\t' -> h11 ['k1'] httptools ['k1\t']
EOF
