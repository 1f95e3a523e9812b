"""Sending stored instances by C-STORE: for C-MOVE, for C-GET and for ``hilum send``.

What the peer accepts as it is stored is sent as it is stored, straight from the file in
PDUs of the peer's size. What it does not is rewritten first.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.core.errors import HilumError, Unsupported
from hilum.core.peer import Originator
from hilum.imaging.part10 import read_file_meta
from hilum.imaging.reader import FileReader
from hilum.imaging.transcode import can_transcode
from hilum.index.stored import StoredInstance
from hilum.scp.association import Association, Context
from hilum.scp.command import Command, CommandField
from hilum.scp.outflow import DataSet
from hilum.scp.patience import do_nothing, patiently
from hilum.scp.upper_layer import ProtocolViolation
from hilum.services.retrieve import Retrieve

#: As far as `Sender.send` wants to know what comes after an instance.
LOOK_AHEAD: Final = 2
_MEDIUM_PRIORITY: Final = 0
#: Behind this, the system sees that a file is read from front to back.
_AHEAD_BYTES: Final = 8 * 1024 * 1024
# Of several contexts that would do, the one that keeps value representations comes first.
_PREFERRED: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An instance to be sent: what it is, and how to get at its Part 10 file."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set_offset: int
    open: Callable[[], BinaryIO]
    rewrite: Callable[[str], BinaryIO]
    """Opens a Part 10 file of it in another transfer syntax."""


def outgoing_of(retrieve: Retrieve, instances: Iterable[StoredInstance]) -> list[Outgoing]:
    """Return stored instances as what is to be sent."""
    return [
        Outgoing(
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.identity.sop_instance_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            data_set_offset=instance.data_set_offset,
            open=partial(retrieve.open, instance),
            rewrite=partial(retrieve.rewrite, instance),
        )
        for instance in instances
    ]


class Sender:
    """Sends instances over one association, one after the other, and looks ahead.

    What follows is opened, and the system begins to read it, while something is sent: a file
    that was not read lately takes longer to come from the disk than to be sent. The beginning
    of the very next is in the buffer by the time the peer has answered.

    Parameters
    ----------
    originator
        Set when the sending is a C-MOVE of somebody else's.
    """

    def __init__(self, association: Association, originator: Originator | None = None) -> None:
        self.association = association
        self._originator = originator
        self._ahead: list[_Ready] = []
        self._chosen: dict[tuple[str, str], Context | None] = {}

    def close(self) -> None:
        """Close what was looked ahead for and not sent."""
        for ready in self._ahead:
            ready.file.close()
        self._ahead.clear()

    def send(
        self,
        outgoing: Outgoing,
        following: Sequence[Outgoing] = (),
        *,
        while_preparing: Callable[[], None] = do_nothing,
        while_sending: Callable[[], None] = do_nothing,
    ) -> Command:
        """Send one instance and return the peer's response, whatever its status.

        Parameters
        ----------
        following
            What is to be sent after it, `LOOK_AHEAD` instances at most.
        while_preparing
            Called several times a second while the instance is rewritten.
        while_sending
            The same from the first byte to the response. Not for use of the association itself:
            a message cannot be put into another one.

        Raises
        ------
        Unsupported
            The peer accepted no context in which this instance could be sent.
        NotFound, Corrupt
            The stored file is gone or damaged; the association is as good as before.
        AssociationLost
            The association is not.
        """
        ready = self._take(outgoing, while_preparing)
        with ready.file:
            return self.association.store(
                self._command(outgoing),
                ready.data_set,
                while_sending,
                partial(self._look_ahead, following),
            )

    def _context_for(self, outgoing: Outgoing) -> Context | None:
        kind = outgoing.sop_class_uid, outgoing.transfer_syntax_uid
        if kind not in self._chosen:  # there may be 128 to choose from
            self._chosen[kind] = choose_context(self.association.contexts.values(), outgoing)
        return self._chosen[kind]

    def _command(self, outgoing: Outgoing) -> Command:
        command = Command(
            field=CommandField.C_STORE_RQ,
            message_id=self.association.next_message_id(),
            affected_sop_class_uid=outgoing.sop_class_uid,
            affected_sop_instance_uid=outgoing.sop_instance_uid,
            priority=_MEDIUM_PRIORITY,
        )
        if self._originator is not None:
            command.move_originator_ae_title = self._originator.ae_title
            command.move_originator_message_id = self._originator.message_id
        return command

    def _take(self, outgoing: Outgoing, while_preparing: Callable[[], None]) -> "_Ready":
        """Return `outgoing` as it was looked ahead for, or make it ready now."""
        if self._ahead and self._ahead[0].outgoing is outgoing:
            return self._ahead.pop(0)
        self.close()
        context = self._context_for(outgoing)
        if context is None:
            raise Unsupported(f"no accepted presentation context for {outgoing.sop_class_uid}")
        return self._open(outgoing, context, while_preparing)

    def _open(
        self, outgoing: Outgoing, context: Context, while_preparing: Callable[[], None] = do_nothing
    ) -> "_Ready":
        with ExitStack() as unless_ready:
            if context.transfer_syntax == outgoing.transfer_syntax_uid:
                file = unless_ready.enter_context(outgoing.open())
                offset = outgoing.data_set_offset
            else:
                rewrite = partial(outgoing.rewrite, context.transfer_syntax)
                file = unless_ready.enter_context(patiently(rewrite, while_preparing))
                offset = read_file_meta(FileReader(file)).data_set_offset
            data_set = self.association.data_set_of(context, file, offset)
            unless_ready.pop_all()
        return _Ready(outgoing, file, data_set)

    def _look_ahead(self, following: Sequence[Outgoing]) -> None:
        """Open what follows and read the beginning of the next.

        What is wrong with any of it is said at its turn.
        """
        with suppress(HilumError, OSError):
            for outgoing in following[len(self._ahead) :]:
                context = self._context_for(outgoing)
                if context is None or context.transfer_syntax != outgoing.transfer_syntax_uid:
                    break
                ready = self._open(outgoing, context)
                self._ahead.append(ready)
                descriptor = ready.data_set.descriptor
                os.posix_fadvise(descriptor, 0, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
        if self._ahead:
            with suppress(ProtocolViolation):
                self.association.load(self._ahead[0].data_set)


@dataclass(frozen=True, slots=True)
class _Ready:
    """An instance that can be sent as soon as the peer is ready for it."""

    outgoing: Outgoing
    file: BinaryIO
    data_set: DataSet


def choose_context(contexts: Iterable[Context], outgoing: Outgoing) -> Context | None:
    """Return the accepted context to send an instance on; None if there is none.

    The one in the stored transfer syntax, else one that it can be rewritten into.
    """
    usable = [
        context
        for context in contexts
        if context.uses and context.abstract_syntax == outgoing.sop_class_uid
    ]
    for context in usable:
        if context.transfer_syntax == outgoing.transfer_syntax_uid:
            return context
    for preferred in _PREFERRED:
        for context in usable:
            if context.transfer_syntax == preferred and can_transcode(
                outgoing.transfer_syntax_uid, context.transfer_syntax
            ):
                return context
    return None
