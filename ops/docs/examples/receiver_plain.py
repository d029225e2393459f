"""A receiver of webhooks that checks both signatures with what Python brings along.

    WEBHOOK_SECRET=whsec_… python receiver_plain.py

While a secret is rotated, name both, the new one first: ``WEBHOOK_SECRET=whsec_new,whsec_old``.
"""

from __future__ import annotations

import base64
import hmac
import os
import time
from collections.abc import Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_SECONDS = 300
MAX_BODY_BYTES = 1 << 20


def is_genuine(secrets: Sequence[str], headers: Message, body: bytes, now: float) -> bool:
    """Whether both signatures are by one of the secrets and the request was signed lately. Never raises, whatever was sent."""
    sent = headers.get("webhook-timestamp", "")
    if not (sent.isascii() and sent.isdigit() and len(sent) < 16 and abs(now - int(sent)) <= TOLERANCE_SECONDS):
        return False
    signed = f"{headers.get('webhook-id', '')}.{sent}.".encode() + body
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    standard = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    plain = [b"v1=" + hmac.digest(secret.encode(), body, "sha256").hex().encode() for secret in secrets]
    found = headers.get("webhook-signature", "").encode().split(b" ")
    is_standard = any(hmac.compare_digest(one, other) for one in found for other in standard)
    return is_standard and any(hmac.compare_digest(headers.get("x-hyrelog-signature", "").encode(), one) for one in plain)


class Receiver(BaseHTTPRequestHandler):
    """Answers 200 to what is genuine, 401 to all else."""

    protocol_version = "HTTP/1.1"
    timeout = 10
    secrets: Sequence[str] = ()

    def do_POST(self) -> None:
        """Take one delivery. A delivery may come again: ``webhook-id`` is the same then."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES))
        genuine = is_genuine(self.secrets, self.headers, body, time.time())
        if genuine:
            self.log_message("%s", body.decode())
        self.send_response(200 if genuine else 401)
        self.send_header("Content-Length", "0")
        if not genuine:
            self.send_header("Connection", "close")
        self.end_headers()


if __name__ == "__main__":
    Receiver.secrets = os.environ["WEBHOOK_SECRET"].split(",")
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3001"))), Receiver).serve_forever()
