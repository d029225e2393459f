"""Companies' data keys: made with a company's first archive, kept wrapped, and opened only here."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ops.db import Connection, load_queries
from ops.sealing import Sealer
from schemas.seal import DATA_KEY_BYTES


class NoDataKey(LookupError):
    """The company has no data key: nothing of it was ever archived."""


class DataKeys:
    """The data keys of a region, wrapped by ARCHIVE_KEY for their company's id."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._sql: Mapping[str, str] = load_queries("ops.archive")

    async def get(self, connection: Connection, company_id: str) -> bytes:
        """The company's key. Raises ``NoDataKey``, and ``Unsealable`` when no ARCHIVE_KEY at hand opens it."""
        wrapped: bytes | None = await connection.fetchval(self._sql["data_key"], company_id)
        if wrapped is None:
            raise NoDataKey(company_id)
        return self._sealer.open(wrapped, company_id)

    async def get_or_make(self, connection: Connection, company_id: str) -> bytes:
        """The same, made now if there is none. Who makes one beside somebody else gets the one that was first. Not in a transaction."""
        try:
            return await self.get(connection, company_id)
        except NoDataKey:
            wrapped = self._sealer.seal(os.urandom(DATA_KEY_BYTES), company_id)
            await connection.execute(self._sql["insert_data_key"], company_id, wrapped)
            return await self.get(connection, company_id)
