"""Queries that clients have this node put to others, and their answers."""

import threading
from itertools import islice
from typing import Final

from hilum.core.errors import Invalid
from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.peer import Modality
from hilum.index.queries import QueryLedger, RemoteQuery
from hilum.services.dimse import Call, Dimse, in_thread

#: A query without keys to an archive of millions would fill the memory.
_MOST: Final = 100_000


class Queries:
    """Asks, and keeps what was answered for a day, for any worker to tell.

    Parameters
    ----------
    most
        So many answers a query may have.
    """

    def __init__(self, dimse: Dimse, ledger: QueryLedger, most: int = _MOST) -> None:
        self._dimse = dimse
        self._most = most
        self.ledger = ledger

    async def ask(
        self,
        modality: Modality,
        call: Call,
        level: Level,
        keys: Attributes,
        asked: Attributes,
    ) -> RemoteQuery:
        """Put a query to a modality, and keep it with its answers.

        Parameters
        ----------
        keys
            What the client wants to know, to be kept.
        asked
            What the modality is asked for that.

        Raises
        ------
        PeerUnreachable, PeerRefused, NotDicom
            See `find`.
        IndexUnavailable
            MongoDB does not answer.
        """
        answers = await self.find(call, level, asked)
        return await self.ledger.add(modality.name, level, keys, answers)

    async def find(self, call: Call, level: Level, keys: Attributes) -> list[Attributes]:
        """Return what a peer answers to a C-FIND, all values as text.

        Raises
        ------
        PeerUnreachable, PeerRefused
            It does not answer, or with a failure.
        NotDicom
            What it answers cannot be read.
        Invalid
            There is no end of answers.
        """
        given_up = threading.Event()

        def ask() -> list[Attributes]:
            found = list(
                islice(self._dimse.find(call, level, keys, given_up.is_set), self._most + 1)
            )
            if len(found) > self._most:
                raise Invalid(f"{call.peer} has more than {self._most} answers: ask for less")
            return found

        try:
            return await in_thread(ask)
        finally:
            given_up.set()  # whoever has asked may be gone
