"""The peers this node knows: those of the settings, and those that clients have added.

A modality of a client's has precedence over one of the settings with the same name. What the
settings name, no client can take away.
"""

from collections.abc import Mapping

from hilum.core.errors import Invalid, UnknownPeer
from hilum.core.peer import Modality, Peer
from hilum.index.modalities import ModalityLedger
from hilum.services.dimse import Call


class Modalities:
    """Looks peers up by symbolic name, or by AE title. All workers see the same ones.

    Parameters
    ----------
    ae_title
        As what this node calls, unless a modality or a client wants another.
    configured
        The peers of the settings, by AE title, which is their symbolic name too.
    """

    def __init__(
        self, ae_title: str, configured: Mapping[str, Peer], ledger: ModalityLedger
    ) -> None:
        self.ae_title = ae_title
        """Of this node."""
        self._configured = configured
        self._ledger = ledger

    async def all(self) -> dict[str, Modality]:
        """Return all of them by name.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        known = {name: Modality(name, peer) for name, peer in self._configured.items()}
        known |= {each.name: each for each in await self._ledger.all()}
        return dict(sorted(known.items()))

    async def one(self, name: str) -> Modality:
        """Return the modality of this symbolic name.

        Raises
        ------
        UnknownPeer
            There is none.
        IndexUnavailable
            MongoDB does not answer.
        """
        found = (await self.all()).get(name)
        if found is None:
            raise UnknownPeer(f"No modality with symbolic name: {name}")
        return found

    def call(self, modality: Modality, *, ae_title: str = "", timeout_seconds: float = 0) -> Call:
        """Return how to call a modality; what is given has precedence over what it has."""
        return Call(
            modality.peer,
            ae_title or modality.local_ae_title or self.ae_title,
            timeout_seconds or modality.timeout_seconds or None,
        )

    async def destination(self, ae_title: str) -> Peer | None:
        """Return where an AE title listens; None if nobody has said.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        for modality in (await self.all()).values():
            if modality.peer.ae_title == ae_title:
                return modality.peer
        return None

    async def put(self, modality: Modality) -> None:
        """Add a modality, or change the one of this name.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        await self._ledger.put(modality)

    async def remove(self, name: str) -> None:
        """Forget what a client has said of a name.

        Raises
        ------
        UnknownPeer
            There is no such modality.
        Invalid
            The settings name it.
        IndexUnavailable
            MongoDB does not answer.
        """
        if not await self._ledger.remove(name):
            if name in self._configured:
                raise Invalid(f"modality {name} is in the node's settings (dicom.peers)")
            raise UnknownPeer(f"Unknown DICOM modality with symbolic name: {name}")
