"""A receiver of webhooks that leaves verifying to the package of Standard Webhooks (``pip install standardwebhooks``).

    WEBHOOK_SECRET=whsec_… python receiver_standard.py

While a secret is rotated, either one will do: requests are signed with both.
"""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY_BYTES = 1 << 20


class Receiver(BaseHTTPRequestHandler):
    """Answers 200 to what is genuine, 401 to all else."""

    protocol_version = "HTTP/1.1"
    timeout = 10
    webhook: Webhook

    def do_POST(self) -> None:
        """Take one delivery. A delivery may come again: ``webhook-id`` is the same then."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES))
        try:
            event = self.webhook.verify(body, dict(self.headers.items()))
        except (WebhookVerificationError, ValueError):  # ValueError: a signature that is none
            self._answer(401)
            return
        self.log_message("%s", event)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status != 200:
            self.send_header("Connection", "close")
        self.end_headers()


if __name__ == "__main__":
    Receiver.webhook = Webhook(os.environ["WEBHOOK_SECRET"])
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3001"))), Receiver).serve_forever()
