"""The OpenAPI document without a running service."""

from __future__ import annotations

from api.app import create_app
from api.document import build
from ops.settings import Settings
from schemas.openapi import Json


def any_settings() -> Settings:
    """Settings that an app can be built with, and nothing can be reached by."""
    return Settings(
        api_key_secret="aB3-key-secret-for-these-tests-0",
        cursor_secret="cD4-cursor-secret-for-the-tests-",
        idempotency_secret="eE5-content-secret-for-the-tests",
        webhook_secret_encryption_key="0f1e2d3c4b5a6978" * 4,
        archive_key="8796a5b4c3d2e1f0" * 4,
        internal_token="eF5-token-of-the-operator-012345",
    )


def document() -> Json:
    """The whole document, as ``GET /openapi.json`` answers it."""
    return build(create_app(any_settings()))
