"""Search: what C-FIND, QIDO-RS and the web page ask, answered the same way."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from hilum.core.errors import NotFound
from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.query import Condition, Exact, Query
from hilum.index.catalogue import Catalogue
from hilum.index.stored import Match, Statistics


@dataclass(frozen=True, slots=True)
class StudyTree:
    """One study with everything below it, in reading order."""

    study: Match
    series: list[Match]
    instances: list[Match]


class Search:
    """Answers queries from the index."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def find(self, query: Query) -> AsyncGenerator[Match, None]:
        """Yield the matches of `query`, as the index delivers them.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer, at the start or half-way.
        """
        return self._catalogue.find(query)

    def data_sets(
        self, query: Query, constant: Attributes
    ) -> AsyncGenerator[list[Attributes], None]:
        """Yield what `query` requests of its matches, several at a time, with `constant`.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer, at the start or half-way.
        """
        return self._catalogue.data_sets(query, constant)

    async def count(self, query: Query) -> int:
        """Return how many matches `query` has, its limit and offset left aside."""
        return await self._catalogue.count(query)

    async def resource(self, level: Level, public_id: str) -> Match:
        """Return the study, series or instance with this public id.

        Raises
        ------
        NotFound
            There is none.
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._catalogue.match(level, public_id)

    async def statistics(self) -> Statistics:
        """Return what the index holds, all in all.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._catalogue.statistics()

    async def study(self, study_instance_uid: str) -> StudyTree:
        """Return one study with its series and instances.

        Raises
        ------
        NotFound
            There is no such study.
        IndexUnavailable
            MongoDB does not answer.
        """
        condition = Condition("StudyInstanceUID", Exact(study_instance_uid))

        async def matches(level: Level) -> list[Match]:
            query = Query(level=level, conditions=(condition,))
            return [match async for match in self._catalogue.find(query)]

        studies = await matches(Level.STUDY)
        if not studies:
            raise NotFound(f"no study {study_instance_uid}")
        return StudyTree(studies[0], await matches(Level.SERIES), await matches(Level.IMAGE))
