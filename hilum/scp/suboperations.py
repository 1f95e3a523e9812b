"""C-STORE sub-operations of a C-MOVE or C-GET: their count and what it comes to.

References
----------
PS3.4 C.4.2.1.5 to C.4.2.1.9, C.4.3.1.4: Remaining is in pending and cancel responses only,
Completed counts neither failures nor warnings, and Failed SOP Instance UID List names the
failures.
"""

import time
from contextlib import suppress
from typing import Final

import structlog

from hilum.core.errors import HilumError
from hilum.core.levels import json_tag
from hilum.scp import identifier
from hilum.scp.command import Command
from hilum.scp.request import Request
from hilum.scp.send import Outgoing
from hilum.scp.status import (
    CANCEL,
    CANNOT_PERFORM_SUBOPERATIONS,
    PENDING,
    SUBOPERATIONS_WITH_FAILURES,
    SUCCESS,
    comment_of,
    is_warning,
)
from hilum.scp.wire import AssociationLost

log = structlog.get_logger(__name__)

_FAILED_LIST: Final = json_tag("FailedSOPInstanceUIDList")
#: Requesters give up after 30 s of silence, some sooner. Asked about every `TICK_SECONDS`,
#: a response after this long is one at least every second.
_PENDING_SECONDS: Final = 0.7


class SubOperations:
    """Counts the sub-operations of one request and answers it."""

    def __init__(self, request: Request, total: int) -> None:
        self._request = request
        self._remaining = total
        self._completed = 0
        self._warning = 0
        self._failed: list[str] = []
        self._reason = ""
        self._last_response = time.monotonic()

    @property
    def cancelled(self) -> bool:
        """Whether the requester has cancelled."""
        return self._request.association.cancelled(self._request.message_id)

    def count(self, outgoing: Outgoing, response: Command) -> None:
        """Count an instance the peer has answered to."""
        status = response.status or 0
        if status == SUCCESS:
            self._completed += 1
        elif is_warning(status):
            self._warning += 1
        else:
            reason = f"the peer answered {status:04X} {response.error_comment or ''}".strip()
            self._count_failure(outgoing, reason)
        self._remaining -= 1

    def count_failed(self, outgoing: Outgoing, error: HilumError) -> None:
        """Count an instance that was not, or not wholly, sent."""
        self._count_failure(outgoing, str(error))
        self._remaining -= 1

    def _count_failure(self, outgoing: Outgoing, reason: str) -> None:
        self._failed.append(outgoing.sop_instance_uid)
        self._reason = reason
        log.warning(
            "sub-operation failed",
            caller=self._request.association.peer_ae_title,
            sop_class_uid=outgoing.sop_class_uid,
            sop_instance_uid=outgoing.sop_instance_uid,
            reason=reason,
        )

    def report(self) -> None:
        """Send a pending response."""
        self._request.respond(self._response(PENDING, with_remaining=True))
        self._last_response = time.monotonic()

    def report_with_next(self) -> None:
        """Send a pending response together with whatever is sent next on the association.

        Which is the next instance or the final response, or `report_if_due` while there is
        something to wait for: the time is that of the last response that went out.
        """
        association, context = self._request.association, self._request.context
        association.hold(context, self._response(PENDING, with_remaining=True))

    def report_if_due(self) -> None:
        """Send a pending response if the requester has not heard anything for a while.

        For use in the middle of a transfer: a requester that has gone is noticed at the
        next regular response, and is not taken for the destination that is being sent to.
        """
        if time.monotonic() - self._last_response >= _PENDING_SECONDS:
            with suppress(AssociationLost):
                self.report()
            self._last_response = time.monotonic()

    def finish(self) -> None:
        """Send the final response."""
        if not (self._failed or self._warning):
            status = SUCCESS
        elif self._completed or self._warning:
            status = SUBOPERATIONS_WITH_FAILURES
        else:
            status = CANNOT_PERFORM_SUBOPERATIONS
        response = self._response(status, with_remaining=False)
        response.error_comment = comment_of(self._reason) or None
        self._request.respond(response, self._failed_list())

    def finish_cancelled(self) -> None:
        """Send the final response to a cancelled request."""
        self._request.respond(self._response(CANCEL, with_remaining=True), self._failed_list())

    def _response(self, status: int, *, with_remaining: bool) -> Command:
        response = self._request.command.response(status)
        if with_remaining:
            response.remaining = self._remaining
        response.completed = self._completed
        response.failed = len(self._failed)
        response.warning = self._warning
        return response

    def _failed_list(self) -> bytes:
        if not self._failed:
            return b""
        element = {"vr": "UI", "Value": self._failed}
        return identifier.encode({_FAILED_LIST: element}, self._request.context.transfer_syntax)
