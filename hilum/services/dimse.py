"""What the node can ask of other nodes: a port, for `scp` to fill and others to use.

Every method blocks: call it from a thread, `in_thread` has them.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from hilum.core.commitment import Commitment
from hilum.core.errors import HilumError
from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.peer import Originator, Peer
from hilum.index.stored import StoredInstance

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call, as whom, and for how long to wait."""

    peer: Peer
    calling_ae_title: str
    timeout_seconds: float | None = None
    """None: as the settings say."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one instance."""

    instance: StoredInstance
    error: HilumError | None = None
    """Why the peer has not taken it; None: it has, with or without a warning."""


class Dimse(Protocol):
    """The DIMSE services that the node uses."""

    def echo(self, call: Call) -> None:
        """Ask a peer whether it is there.

        Raises
        ------
        PeerUnreachable, PeerRefused
            It is not, or does not say so.
        """

    def find(
        self, call: Call, level: Level, keys: Attributes, cancelled: Callable[[], bool]
    ) -> Iterator[Attributes]:
        """Yield what a peer has, with all its values as text.

        Raises
        ------
        PeerUnreachable, PeerRefused
            It does not answer, or with a failure.
        NotDicom
            What it answers cannot be read.
        """

    def move(
        self,
        call: Call,
        level: Level,
        keys: Attributes,
        destination: str,
        report: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Have a peer send something to an AE title; report which part of it is done.

        Raises
        ------
        PeerUnreachable, PeerRefused
            It does not answer, or not all of it was sent.
        """

    def get(
        self,
        call: Call,
        level: Level,
        keys: Attributes,
        report: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Have a peer send something here, over the association it is asked on.

        Raises
        ------
        PeerUnreachable, PeerRefused
            It does not answer, or not all of it was sent.
        """

    def store(
        self,
        call: Call,
        instances: Sequence[StoredInstance],
        originator: Originator | None,
    ) -> Iterator[Delivered]:
        """Send instances; yield what became of each as soon as it is known."""

    def store_file(self, call: Call, path: Path) -> tuple[str, str]:
        """Send a Part 10 file as it is; return its SOP Class and SOP Instance UID.

        Raises
        ------
        NotDicom, Invalid
            It is none.
        PeerUnreachable, PeerRefused
            The peer has not taken it.
        """

    def report_commitment(self, call: Call, make: Callable[[], Commitment]) -> None:
        """Tell a peer what it has asked for: storage commitment.

        Parameters
        ----------
        make
            Called when the peer is there; may take a while.

        Raises
        ------
        PeerUnreachable, PeerRefused
            It is not, or it does not take the report.
        """


async def in_thread(function: Callable[[], T], name: str = "dimse") -> T:
    """Return what `function` returns, called in a thread of its own.

    Peers let one wait for minutes: not in the threads that everything else shares. The
    thread does not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():  # nobody waits any more
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, fault = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  # raised again where it is awaited
            fault = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await outcome
