"""Sending stored instances by C-STORE: for C-MOVE, for C-GET and for ``hilum send``.

What the peer accepts as it is stored is sent as it is stored, straight from the file in
PDUs of the peer's size. What it does not is rewritten first.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.core.errors import HilumError, Unsupported
from hilum.imaging.part10 import read_file_meta
from hilum.imaging.reader import FileReader
from hilum.imaging.transcode import can_transcode
from hilum.scp.association import Association, Context
from hilum.scp.command import Command, CommandField
from hilum.scp.patience import do_nothing, patiently

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


@dataclass(frozen=True, slots=True)
class Originator:
    """Whose C-MOVE makes this node send (PS3.7 9.1.1.1): the requester and its message."""

    ae_title: str
    message_id: int


def send(
    association: Association,
    outgoing: Outgoing,
    *,
    while_preparing: Callable[[], None] = do_nothing,
    while_sending: Callable[[], None] = do_nothing,
    originator: Originator | None = None,
) -> Command:
    """Send one instance and return the peer's response, whatever its status.

    Parameters
    ----------
    while_preparing
        Called several times a second while the instance is rewritten.
    while_sending
        The same from the first byte to the response. Not for use of `association` itself:
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
    context = choose_context(association.contexts.values(), outgoing)
    if context is None:
        raise Unsupported(f"no accepted presentation context for {outgoing.sop_class_uid}")
    command = Command(
        field=CommandField.C_STORE_RQ,
        message_id=association.next_message_id(),
        affected_sop_class_uid=outgoing.sop_class_uid,
        affected_sop_instance_uid=outgoing.sop_instance_uid,
        priority=_MEDIUM_PRIORITY,
    )
    if originator is not None:
        command.move_originator_ae_title = originator.ae_title
        command.move_originator_message_id = originator.message_id
    as_stored = context.transfer_syntax == outgoing.transfer_syntax_uid
    if as_stored:
        with outgoing.open() as file:
            offset = outgoing.data_set_offset
            return association.store(context, command, file, offset, while_sending)
    with patiently(partial(outgoing.rewrite, context.transfer_syntax), while_preparing) as file:
        offset = read_file_meta(FileReader(file)).data_set_offset
        return association.store(context, command, file, offset, while_sending)


def read_ahead(outgoing: Outgoing) -> None:
    """Have the system begin to read an instance: the one that is sent next.

    A file that was not read lately takes longer to come from the disk than to be sent.
    """
    # What is wrong with it is said at its turn.
    with suppress(HilumError, OSError), outgoing.open() as file:
        os.posix_fadvise(file.fileno(), 0, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


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
