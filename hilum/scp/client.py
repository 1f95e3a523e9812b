"""The node, or its command line, as service class user: C-ECHO and C-STORE of files."""

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from hilum.core.errors import HilumError, Invalid, PeerUnreachable, StorageUnavailable
from hilum.core.peer import Peer
from hilum.imaging.header import read_header
from hilum.imaging.transcode import transcode
from hilum.scp.association import TimeLimits
from hilum.scp.command import Command, CommandField
from hilum.scp.contexts import VERIFICATION, Proposal
from hilum.scp.delivery import Delivery
from hilum.scp.lines import Lines
from hilum.scp.requestor import associate
from hilum.scp.send import Outgoing
from hilum.scp.status import SUCCESS, is_warning
from hilum.scp.wire import AssociationLost

_UNCOMPRESSED: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


@dataclass(frozen=True, slots=True)
class Echo:
    """What a peer that answers a C-ECHO says about itself."""

    status: int
    transfer_syntax_uid: str
    implementation: str
    maximum_pdu_bytes: int
    """0 is unlimited."""
    seconds: float
    """From the request to the response, the association not counted."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one file."""

    path: Path
    status: int | None
    """As the peer answered; None: it was not sent, or not answered."""
    reason: str = ""
    """Why not, or what the peer has to say."""

    @property
    def stored(self) -> bool:
        """Whether the peer has taken responsibility for it, with or without a warning."""
        return self.status is not None and (self.status == SUCCESS or is_warning(self.status))


def echo(peer: Peer, ae_title: str, limits: TimeLimits | None = None) -> Echo:
    """Ask `peer` whether it is there (PS3.4 Annex A).

    Raises
    ------
    PeerUnreachable
        It is not, it rejects the association, or it does not know C-ECHO.
    """
    association = associate(
        peer, ae_title, [Proposal(VERIFICATION, _UNCOMPRESSED)], limits or TimeLimits()
    )
    context = next(iter(association.contexts.values()), None)
    if context is None:
        association.release()
        raise PeerUnreachable(f"{peer} does not accept the Verification SOP Class")
    start = time.monotonic()
    try:
        response = association.request(
            context,
            Command(
                CommandField.C_ECHO_RQ,
                message_id=association.next_message_id(),
                affected_sop_class_uid=VERIFICATION,
            ),
        )
    except AssociationLost:
        association.abort()
        raise
    seconds = time.monotonic() - start
    association.release()
    return Echo(
        status=response.status or 0,
        transfer_syntax_uid=context.transfer_syntax,
        implementation=association.peer_implementation,
        maximum_pdu_bytes=association.peer_maximum_pdu_bytes,
        seconds=seconds,
    )


def send(
    peer: Peer, ae_title: str, files: Iterable[Path], limits: TimeLimits | None = None
) -> Iterator[Sent]:
    """Send DICOM files; yield what became of each as soon as it is known.

    What cannot be read as DICOM comes first. A file that fails does not stop the others;
    a peer that is not there fails them all.
    """
    readable: list[tuple[Path, Outgoing]] = []
    for path in files:
        try:
            readable.append((path, outgoing_file(path)))
        except HilumError as error:
            yield Sent(path, None, str(error))
    series = [outgoing for _, outgoing in readable]
    with Delivery(Lines(peer, ae_title, limits or TimeLimits()), series) as delivery:
        for path, _ in readable:
            try:
                response = delivery.send_next()
            except HilumError as error:
                yield Sent(path, None, str(error))
            else:
                yield Sent(path, response.status, response.error_comment or "")


def outgoing_file(path: Path) -> Outgoing:
    """Return a file as what is to be sent.

    Raises
    ------
    NotDicom, Invalid
        It is no DICOM file, or lacks an identifier.
    StorageUnavailable
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except IsADirectoryError as error:
        raise Invalid("a folder") from error
    except OSError as error:
        raise StorageUnavailable(error.strerror or str(error)) from error
    return Outgoing(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.identity.sop_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        data_set_offset=header.data_set_offset,
        open=lambda: path.open("rb"),
        rewrite=partial(_rewritten, path, header.transfer_syntax_uid),
    )


def _rewritten(path: Path, source_uid: str, target_uid: str) -> BinaryIO:
    with path.open("rb") as source, ExitStack() as unless_done:
        target = unless_done.enter_context(tempfile.TemporaryFile(prefix="hilum-"))
        transcode(source, source_uid, target_uid, target)
        target.flush()  # what reads it next does so by its descriptor
        unless_done.pop_all()
        return target
