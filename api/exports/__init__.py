"""``/v1/exports``: events in bulk, as of one moment, streamed and checkable (ops/docs/exports.md)."""
