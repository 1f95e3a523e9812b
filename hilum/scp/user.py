"""The node as service class user, for those of its services that ask other nodes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from hilum.core.commitment import Commitment
from hilum.core.errors import HilumError, NotDicom, PeerRefused
from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.peer import Originator
from hilum.index.stored import StoredInstance
from hilum.scp import client, commitment
from hilum.scp.association import TimeLimits
from hilum.scp.command import Command
from hilum.scp.delivery import Delivery
from hilum.scp.find_scu import find
from hilum.scp.get_scu import get
from hilum.scp.lines import Lines
from hilum.scp.move_scu import Moved, move
from hilum.scp.request import Services
from hilum.scp.send import outgoing_of
from hilum.scp.status import SUCCESS, is_warning
from hilum.services.dimse import Call, Delivered


class User:
    """Fills `hilum.services.dimse.Dimse`.

    Parameters
    ----------
    services
        Those that associations from others are served with: what is sent comes from them,
        and what a C-GET brings goes to them.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._retrieve = services.retrieve
        self._limits = services.limits

    def echo(self, call: Call) -> None:
        """See `Dimse.echo`."""
        answer = client.echo(call.peer, call.calling_ae_title, self._limits_of(call))
        if answer.status != SUCCESS:
            raise PeerRefused(
                f"{call.peer} answered C-ECHO with {answer.status:04X}", answer.status
            )

    def find(
        self, call: Call, level: Level, keys: Attributes, cancelled: Callable[[], bool]
    ) -> Iterator[Attributes]:
        """See `Dimse.find`."""
        found = find(
            call.peer,
            call.calling_ae_title,
            level,
            keys,
            self._limits_of(call),
            cancelled=cancelled,
        )
        for each in found:
            yield as_text(each.data_set())

    def move(
        self,
        call: Call,
        level: Level,
        keys: Attributes,
        destination: str,
        report: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """See `Dimse.move`."""

        def tell(moved: Moved) -> None:
            report(moved.progress / 100)

        move(
            call.peer,
            call.calling_ae_title,
            level,
            keys,
            destination,
            self._limits_of(call),
            report=tell,
            cancelled=cancelled,
        )

    def get(
        self,
        call: Call,
        level: Level,
        keys: Attributes,
        report: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """See `Dimse.get`."""

        def tell(moved: Moved) -> None:
            report(moved.progress / 100)

        get(
            call.peer,
            level,
            keys,
            replace(self._services, limits=self._limits_of(call)),
            ae_title=call.calling_ae_title,
            report=tell,
            cancelled=cancelled,
        )

    def store(
        self,
        call: Call,
        instances: Sequence[StoredInstance],
        originator: Originator | None,
    ) -> Iterator[Delivered]:
        """See `Dimse.store`."""
        series = outgoing_of(self._retrieve, instances)
        with Delivery(self._lines(call), series, originator) as delivery:
            for instance in instances:
                try:
                    response = delivery.send_next()
                except HilumError as error:
                    yield Delivered(instance, error)
                    continue
                yield Delivered(instance, _refusal(call, response))

    def store_file(self, call: Call, path: Path) -> tuple[str, str]:
        """See `Dimse.store_file`."""
        outgoing = client.outgoing_file(path)
        with Delivery(self._lines(call), [outgoing]) as delivery:
            error = _refusal(call, delivery.send_next())
        if error is not None:
            raise error
        return outgoing.sop_class_uid, outgoing.sop_instance_uid

    def report_commitment(self, call: Call, make: Callable[[], Commitment]) -> None:
        """See `Dimse.report_commitment`."""
        commitment.report(call.peer, call.calling_ae_title, self._limits_of(call), make)

    def _lines(self, call: Call) -> Lines:
        return Lines(call.peer, call.calling_ae_title, self._limits_of(call))

    def _limits_of(self, call: Call) -> TimeLimits:
        seconds = call.timeout_seconds
        if not seconds:
            return self._limits
        return replace(self._limits, acse_seconds=seconds, dimse_seconds=seconds)


def _refusal(call: Call, response: Command) -> PeerRefused | None:
    """Return what a peer has against an instance; None if it has taken it."""
    status = response.status or 0
    if status == SUCCESS or is_warning(status):
        return None
    comment = f": {response.error_comment}" if response.error_comment else ""
    return PeerRefused(f"{call.peer} answered C-STORE with {status:04X}{comment}", status)


def as_text(data_set: Dataset) -> Attributes:
    """Return a data set in the DICOM JSON model, its values as the text they are written in.

    Raises
    ------
    NotDicom
        A value cannot be read at all.
    """
    attributes: Attributes = {}
    try:
        for element in data_set:
            attributes[f"{int(element.tag):08X}"] = _element(element)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        raise NotDicom("an answer cannot be decoded") from error
    return attributes


def _element(element: DataElement) -> dict[str, Any]:
    if element.VR == "SQ":
        return {"vr": "SQ", "Value": [as_text(item) for item in element.value]}
    if element.value is None or isinstance(element.value, bytes):
        return {"vr": element.VR}
    values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
    texts = ["" if value is None else str(value) for value in values]
    return {"vr": element.VR, **({"Value": texts} if any(texts) else {})}
