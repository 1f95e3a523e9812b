"""Passing instances on to a DICOM peer by C-STORE, over associations that are kept."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from hilum.core.errors import HilumError, Invalid, Temporary, UnknownPeer
from hilum.core.peer import Peer
from hilum.index.stored import StoredInstance
from hilum.scp.association import TimeLimits
from hilum.scp.command import Command
from hilum.scp.delivery import Delivery
from hilum.scp.lines import Lines
from hilum.scp.send import Outgoing, outgoing_of
from hilum.scp.status import SUCCESS, comment_of, is_warning
from hilum.scp.wire import AssociationLost
from hilum.services.modalities import Modalities
from hilum.services.retrieve import Retrieve

#: How long an association waits for more. Peers close one that is idle after 30 s and more.
IDLE_SECONDS: Final = 5.0
#: Series that are sent to one peer at a time.
AT_ONCE: Final = 4
#: A peer that does not answer is tried again later; nobody waits for it meanwhile.
_CONNECT_SECONDS: Final = 10.0
#: PS3.4 B.2.3, Refused: Out of Resources.
_OUT_OF_RESOURCES: Final = 0xA7


class DicomPeer:
    """A peer that instances are passed on to. For the loop.

    Parameters
    ----------
    ae_title
        The node's.
    retrieve
        Where the instances are.
    idle_seconds
        How long an association is kept that has nothing to send.
    """

    def __init__(
        self,
        peer: Peer,
        ae_title: str,
        limits: TimeLimits,
        retrieve: Retrieve,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._peer = peer
        self._retrieve = retrieve
        self._idle_seconds = idle_seconds
        connect_seconds = min(limits.acse_seconds or _CONNECT_SECONDS, _CONNECT_SECONDS)
        limits = replace(limits, acse_seconds=connect_seconds)
        self._lines = Lines(peer, ae_title, limits, idle_seconds)
        # Not the loop's own threads: a peer that hangs would keep them from everybody else.
        self._threads = ThreadPoolExecutor(AT_ONCE, f"forwarding-{peer.ae_title}")

    @property
    def description(self) -> str:
        """What this is, for people."""
        return f"C-STORE to {self._peer}"

    async def sender(self) -> str:
        """See `hilum.services.routing.Destination.sender`."""
        return self._peer.ae_title

    async def send(self, instances: Sequence[StoredInstance]) -> list[HilumError | None]:
        """Send instances; return for each what is wrong, None if the peer has it.

        It has it if it answers with success or a warning. Short of resources, or an association
        that is lost over it, is `Temporary`; no association to be had `PeerUnreachable`; a file
        that is gone `NotFound`; any other answer, or no context to send it in, `Invalid`.
        """
        outgoing = outgoing_of(self._retrieve, instances)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._send, outgoing)
        finally:
            # A little later than due: the association is as old as that by then.
            loop.call_later(1.1 * self._idle_seconds, self._release_idle)

    async def close(self) -> None:
        """Release the associations; what is being sent fails."""
        await asyncio.to_thread(self._lines.close)
        await asyncio.to_thread(self._threads.shutdown)

    def _release_idle(self) -> None:
        try:
            self._threads.submit(self._lines.release_idle)
        except RuntimeError:
            return  # closed, and all of them released

    def _send(self, series: Sequence[Outgoing]) -> list[HilumError | None]:
        results: list[HilumError | None] = []
        with Delivery(self._lines, series) as delivery:
            for _ in series:
                try:
                    results.append(_fault(delivery.send_next()))
                except AssociationLost as loss:
                    # The peer was there. If it is this instance that it cannot bear, the others
                    # must not wait for it.
                    results.append(Temporary(f"the association was lost: {loss}"))
                except HilumError as error:
                    results.append(error)
        return results


class NamedPeer:
    """A modality that instances are passed on to, wherever it is by then. For the loop.

    Clients add modalities, change them and take them away while the node runs: what it is is
    asked each time.

    Parameters
    ----------
    name
        Its symbolic name.
    modalities
        Those there are.
    make
        Makes of a peer what sends to it.
    """

    def __init__(
        self, name: str, modalities: Modalities, make: Callable[[Peer], DicomPeer]
    ) -> None:
        self._name = name
        self._modalities = modalities
        self._make = make
        self._peers: dict[Peer, DicomPeer] = {}

    @property
    def description(self) -> str:
        """What this is, for people."""
        return f"C-STORE to modality {self._name}"

    async def sender(self) -> str | None:
        """See `hilum.services.routing.Destination.sender`."""
        try:
            return (await self._modalities.one(self._name)).peer.ae_title
        except UnknownPeer:
            return None

    async def send(self, instances: Sequence[StoredInstance]) -> list[HilumError | None]:
        """See `DicomPeer.send`. That there is no such modality, or not yet, is `Temporary`."""
        try:
            peer = (await self._modalities.one(self._name)).peer
        except UnknownPeer as error:
            return [Temporary(str(error)) for _ in instances]
        if peer not in self._peers:
            self._peers[peer] = self._make(peer)
        return await self._peers[peer].send(instances)

    async def close(self) -> None:
        """Release the associations; what is being sent fails."""
        for peer in self._peers.values():
            await peer.close()


def _fault(response: Command) -> HilumError | None:
    """Return what a response says is wrong, None if the instance is stored."""
    status = response.status or 0
    if status == SUCCESS or is_warning(status):
        return None
    reason = f"the peer answered {status:04X} {comment_of(response.error_comment or '')}".strip()
    return Temporary(reason) if status >> 8 == _OUT_OF_RESOURCES else Invalid(reason)
