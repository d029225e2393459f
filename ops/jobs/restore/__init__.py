"""The jobs that carry restore requests out (ops/docs/restore.md)."""
