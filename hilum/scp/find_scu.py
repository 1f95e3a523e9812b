"""C-FIND as service class user, Patient Root and Study Root (PS3.4 C.4.1.2)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.peer import Peer
from hilum.scp import identifier
from hilum.scp.association import TimeLimits
from hilum.scp.command import Command, CommandField, is_pending
from hilum.scp.contexts import FIND_MODELS
from hilum.scp.operation import Operation, keys_at, models_for, named, never, operating


@dataclass(frozen=True, slots=True)
class Found:
    """The identifier of one match, as the peer wrote it."""

    data: bytes
    transfer_syntax: str

    def data_set(self) -> Dataset:
        """Return it read.

        Raises
        ------
        NotDicom
            It is not encoded as negotiated.
        """
        return identifier.decode(self.data, self.transfer_syntax)


def find(
    peer: Peer,
    ae_title: str,
    level: Level,
    keys: Attributes,
    limits: TimeLimits | None = None,
    *,
    most: int | None = None,
    cancelled: Callable[[], bool] = never,
) -> Iterator[Found]:
    """Ask `peer` what it has; yield the matches as they come.

    Parameters
    ----------
    keys
        Matching and return keys in the DICOM JSON model; the level is put among them.
    most
        After so many the query is cancelled.
    cancelled
        Asked several times a second: whether to cancel it now.

    Raises
    ------
    PeerUnreachable
        There is no association, or it is lost; the peer is silent for too long.
    PeerRefused
        The peer answers with a failure, or serves no C-FIND.
    """
    sop_classes = models_for(level, *FIND_MODELS)
    with named(peer), operating(peer, ae_title, sop_classes, limits or TimeLimits()) as opened:
        association, context = opened
        operation = Operation(
            peer,
            association,
            context,
            Command(CommandField.C_FIND_RQ),
            keys_at(level, keys),
            cancelled,
        )
        count = 0
        for response, data in operation.responses():
            if not is_pending(response.status or 0) or count == most:
                continue
            count += 1
            if count == most:
                operation.stop()
            yield Found(data, context.transfer_syntax)
