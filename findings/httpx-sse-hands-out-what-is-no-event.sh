#!/usr/bin/env bash
# httpx-sse yields an event for a frame with `retry:` or `id:` alone; a browser's EventSource dispatches none.
#
# Expected: a client of server-sent events dispatches what the standard does: a frame whose data buffer is empty sets the last id
#   and the reconnection time and is no event (WHATWG HTML §9.2.6).
# Seen: each such frame comes out of iter_sse() as an event of type `message` with data "". A comment alone does not.
# Matters: `json.loads(event.data)` raises at the very first frame of a stream that begins with `retry:`, and again at each frame
#   that only moves the position on, as streams with filters send them. Who skips them without a look at their id
#   resumes too early, and sees events twice.
# HyreLog: sends both kinds of frames; ops/docs/tail.md tells clients to skip what has no data and to keep its id.

. "$(dirname "$0")/lib.sh"
python_packages httpx==0.28.1 httpx-sse==0.4.3

seen=$("$python" - <<'PY'
import http.server
import threading

import httpx
from httpx_sse import connect_sse

STREAM = b': keep-alive\n\nretry: 1000\n\nid: 7\n\nid: 8\nevent: audit-event\ndata: {"seq": 1}\n\n'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(STREAM)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with httpx.Client(trust_env=False) as client, connect_sse(client, "GET", f"http://127.0.0.1:{server.server_port}/") as source:
    for event in source.iter_sse():
        print(event)
PY
)
conclude "$seen" <<'EOF'
ServerSentEvent(event='message', retry=1000)
ServerSentEvent(event='message', id='7')
ServerSentEvent(event='audit-event', data='{"seq": 1}', id='8')
EOF
