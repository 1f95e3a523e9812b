"""One accepted association, from its first request to its end.

`Session` waits for requests and hands each to the file of its service. It also remembers
what was stored, because the answer to a release is a promise: what was sent can be found.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog

from hilum.core.errors import HilumError
from hilum.scp import commitment, echo, find, get, move, store
from hilum.scp.association import Association, Message
from hilum.scp.command import RESPONSE_BIT, CommandField
from hilum.scp.request import Request, Services, Stored
from hilum.scp.status import PROCESSING_FAILURE, UNRECOGNIZED_OPERATION, Refused, failure
from hilum.scp.upper_layer import AbortReason, ProtocolViolation, ReleaseRequested
from hilum.scp.wire import AssociationLost, Silence

log = structlog.get_logger(__name__)

_HANDLERS: Final[dict[int, Callable[[Request], None]]] = {
    CommandField.C_ECHO_RQ: echo.handle,
    CommandField.C_STORE_RQ: store.handle,
    CommandField.C_FIND_RQ: find.handle,
    CommandField.C_MOVE_RQ: move.handle,
    CommandField.C_GET_RQ: get.handle,
    CommandField.N_ACTION_RQ: commitment.handle,
}


class Session:
    """Serves one association in the thread that calls `serve`."""

    def __init__(self, association: Association, services: Services) -> None:
        self._association = association
        self._services = services
        self._stored = Stored()
        self._idle_since: float | None = None
        self._closing = False
        self._log = log.bind(caller=association.peer_ae_title, address=association.peer_address)

    def serve(self) -> None:
        """Answer requests until the association ends, however it does."""
        association = self._association
        try:
            while True:
                self._idle_since = time.monotonic()
                message = association.receive()
                self._idle_since = None
                self.answer(message)
        except ReleaseRequested:
            self._release()
        except ProtocolViolation as violation:
            self._log.warning("association aborted by us", reason=str(violation))
            association.abort(violation.reason)
        except Silence as silence:
            self._log.warning("association aborted by us", reason=str(silence))
            association.abort(AbortReason.NOT_SPECIFIED)
        except AssociationLost as loss:
            if self._closing:
                association.abort()
            self._log.info("association ended", reason=str(loss))
        finally:
            association.close()

    def close_if_idle(self, idle_seconds: float) -> None:
        """End the association if nothing has been asked for a while; from another thread."""
        since = self._idle_since
        if since is not None and time.monotonic() - since >= idle_seconds:
            self._closing = True
            self._association.interrupt()

    def close(self) -> None:
        """End the association whatever it is doing; from another thread."""
        self._closing = True
        self._association.interrupt()

    def await_visible(self) -> bool:
        """Wait until queries find what was stored; False if the time ran out first."""
        return self._stored.await_visible(self._services)

    def _release(self) -> None:
        if not self.await_visible():
            # Nothing is lost: the instances are on disk, and the index will have them.
            self._log.warning("released before everything stored can be found")
        try:
            self._association.answer_release()
        except AssociationLost as loss:
            self._log.info("association ended", reason=str(loss))
        else:
            self._log.info("association released")

    def answer(self, message: Message) -> None:
        """Serve one request.

        Raises
        ------
        AssociationLost
            There is nobody to answer.
        """
        command = message.command
        if command.field & RESPONSE_BIT:
            raise ProtocolViolation("a response to something that was not asked")
        association = self._association
        request = Request(association, message.context, command, self._services, self._stored)
        try:
            _HANDLERS.get(command.field, _unknown_operation)(request)
        except AssociationLost:
            raise
        except HilumError as error:
            self._refuse(request, error)
        except Exception:  # noqa: BLE001  # a fault of ours must not cost the peer its association
            self._log.exception("request failed", operation=_name(command.field))
            self._refuse(request, Refused(PROCESSING_FAILURE, "internal error, see the node's log"))

    def _refuse(self, request: Request, error: HilumError) -> None:
        command = request.command
        response = failure(command, error)
        self._log.warning(
            "request refused",
            operation=_name(command.field),
            status=f"{response.status:04X}",
            reason=str(error),
            sop_class_uid=command.affected_sop_class_uid,
            sop_instance_uid=command.affected_sop_instance_uid,
        )
        request.association.skip_data_set()
        request.respond(response)


def _unknown_operation(request: Request) -> None:
    raise Refused(UNRECOGNIZED_OPERATION, f"no such operation: {_name(request.command.field)}")


def _name(field: int) -> str:
    try:
        return CommandField(field).name
    except ValueError:
        return f"{field:04X}H"
