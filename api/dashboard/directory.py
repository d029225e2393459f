"""Which region a company lives in: for good, so it is asked of all regions but once."""

from __future__ import annotations

import asyncio

import orjson

from api.store import Store
from schemas.ids import is_uuid
from schemas.plans import PlanLimits
from schemas.problems import NotFound, Problem, Unavailable
from schemas.topics import Region

NO_SUCH_COMPANY = "There is no such company."
_MOST = 50_000


class Directory:
    """The companies of all regions. Remembers where each is, never what it may do."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._regions: dict[str, Region] = {}

    async def find(self, company_id: str) -> tuple[Region, PlanLimits]:
        """Where it lives and what its plan allows now. Raises ``NotFound``, and ``Unavailable`` while a region that may have it is away."""
        if not is_uuid(company_id):
            raise NotFound(NO_SUCH_COMPANY)
        known = self._regions.get(company_id)
        found = await self._ask(company_id, self._store.regions if known is None else (known,))
        if known is None:
            if len(self._regions) >= _MOST:
                del self._regions[next(iter(self._regions))]
            self._regions[company_id] = found[0]
        return found

    async def _ask(self, company_id: str, regions: tuple[Region, ...]) -> tuple[Region, PlanLimits]:
        answers = await asyncio.gather(*(self._store.company_limits(region, company_id) for region in regions), return_exceptions=True)
        for region, answer in zip(regions, answers, strict=True):
            if isinstance(answer, str):
                return region, PlanLimits.parse(orjson.loads(answer))
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if unexpected := [error for error in failed if not isinstance(error, Problem)]:
            raise unexpected[0]
        away = [region for region, answer in zip(regions, answers, strict=True) if isinstance(answer, Problem)]
        if away:
            raise Unavailable(f"The company is in none of the regions that answer; {', '.join(away)} can't be asked now.")
        raise NotFound(NO_SUCH_COMPANY)
