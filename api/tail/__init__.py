"""``GET /v1/events/tail``: events as they happen, and those that happened while the client was away."""
