"""Who and what the examples of the OpenAPI document are about: one company's story."""

from __future__ import annotations

from typing import Final

EVENT: Final = "019c1388-7149-7198-9612-ea72d1f43751"
NEXT_EVENT: Final = "019c1388-7149-7a02-8b3d-51c2d3e4f506"
COMPANY: Final = "019c0f00-52a1-7c3e-8f01-6b1de0c4a7f2"
WORKSPACE: Final = "019c0f00-5b40-7a55-b1c9-0d2f3e4a5b6c"
PROJECT: Final = "019c0f00-61d2-7e11-9a3c-4f5e6d7c8b9a"
KEY: Final = "019c0f00-7000-7b22-8d4e-1a2b3c4d5e6f"
AUDIT_WORKSPACE: Final = "019c0f00-52a2-7d4f-9a12-7c2ef1d5b803"
USER: Final = "usr_1001"
USERS_EMAIL: Final = "ada@example.com"
OPERATOR: Final = "ops_7"
OPERATORS_EMAIL: Final = "grace@example.net"
NEW_KEY: Final = "019c13a0-1000-7b22-8d4e-6f5e4d3c2b1a"
WEBHOOK: Final = "019c0f00-8000-7c44-9b5d-2e3f4a5b6c7d"
RESTORE: Final = "019c1500-9000-7d55-8c6e-3f4a5b6c7d8e"
ARCHIVE: Final = "019c1450-b000-7e88-a091-5c6d7e8f9a0b"
CREATED: Final = "2026-01-30T12:00:00.000000Z"
OCCURRED: Final = "2026-01-31T09:30:00.000000Z"
RECEIVED: Final = "2026-01-31T09:30:00.412907Z"
LATER: Final = "2026-01-31T09:30:00.530118Z"
CURSOR: Final = "AZxGh2mcE4hxSXGYlhLqctH0N1HkD3nVQ2xk0rT9"
POSITION: Final = "AXb5Jq0wYh2cZkQe7nLrT1uVsMxOdPgK8iEaCf3y"
