"""Requests to have cold archives restored: asking, deciding, reading (ops/docs/restore.md)."""
