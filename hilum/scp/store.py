"""C-STORE as SCP (PS3.4 Annex B): from the network to the spool, and an acknowledgement.

The data set is written as it arrives, behind file meta information made from the command,
and is never whole in memory. Success is answered when `Ingest.accept` has returned: the
bytes are on disk.
"""

from datetime import UTC, datetime

from hilum.core.errors import Invalid, NotDicom
from hilum.core.identifiers import parse_uid
from hilum.core.instance import Origin
from hilum.imaging.part10 import file_meta
from hilum.scp.contexts import is_storage_class
from hilum.scp.request import Request
from hilum.scp.status import (
    CANNOT_UNDERSTAND,
    INVALID_SOP_INSTANCE,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    Refused,
)
from hilum.services.ingest import Expected, Receipt

_AFFECTED_SOP_CLASS_UID = 0x00000002
_AFFECTED_SOP_INSTANCE_UID = 0x00001000


def handle(request: Request) -> None:
    """Store the data set of a C-STORE request."""
    expected = _checked(request)
    request.stored.add(_receive(request, expected))
    request.respond(request.command.response(SUCCESS))


def _checked(request: Request) -> Expected:
    """Return what the command says the data set is.

    Raises
    ------
    Refused
        The command cannot be right, whatever its data set is.
    """
    command, context = request.command, request.context
    sop_class_uid = command.affected_sop_class_uid or ""
    if (
        sop_class_uid != context.abstract_syntax
        or not context.serves
        or not is_storage_class(sop_class_uid)
    ):
        raise Refused(
            SOP_CLASS_NOT_SUPPORTED,
            f"{sop_class_uid or 'no SOP class'} on a context for {context.abstract_syntax}",
            _AFFECTED_SOP_CLASS_UID,
        )
    try:
        sop_instance_uid = parse_uid(
            command.affected_sop_instance_uid or "", "Affected SOP Instance UID"
        )
        parse_uid(sop_class_uid, "Affected SOP Class UID")
    except Invalid as error:
        raise Refused(INVALID_SOP_INSTANCE, str(error), _AFFECTED_SOP_INSTANCE_UID) from error
    if not command.has_data_set:
        raise Refused(CANNOT_UNDERSTAND, "a C-STORE without a data set")
    return Expected(sop_class_uid, sop_instance_uid)


def _receive(request: Request, expected: Expected) -> Receipt:
    """Spool the data set as it arrives and have it accepted.

    However this is left, by an abort in the middle for instance, an unfinished file goes.
    """
    association, ingest = request.association, request.services.ingest
    origin = Origin(
        association.peer_ae_title,
        datetime.now(UTC),
        remote_address=association.peer_address.rpartition(":")[0],
        called_ae_title=association.called_ae_title,
        by_alias=association.called_ae_title != request.services.ae_title,
    )
    meta = file_meta(
        expected.sop_class_uid, expected.sop_instance_uid, request.context.transfer_syntax
    )
    with ingest.begin(origin) as writer:
        writer.write(meta)
        for part in association.data_set():
            writer.write(part)
        if writer.size_bytes == len(meta):
            raise NotDicom("the data set is empty")
        return ingest.accept(writer, expected)
