"""Queries that clients have this node put to others, and their answers."""

import threading

from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.peer import Modality
from hilum.index.queries import QueryLedger, RemoteQuery
from hilum.services.dimse import Call, Dimse, in_thread


class Queries:
    """Asks, and keeps what was answered for a day, for any worker to tell."""

    def __init__(self, dimse: Dimse, ledger: QueryLedger) -> None:
        self._dimse = dimse
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
        """
        given_up = threading.Event()
        try:
            return await in_thread(
                lambda: list(self._dimse.find(call, level, keys, given_up.is_set))
            )
        finally:
            given_up.set()  # whoever has asked may be gone
