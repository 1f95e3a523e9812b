"""Orthanc's form of an error, on every path that is not the node's own."""

from collections.abc import Mapping
from typing import Final

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from hilum.core.errors import (
    Conflict,
    Corrupt,
    HilumError,
    IndexUnavailable,
    Invalid,
    NotDicom,
    NotFound,
    PeerRefused,
    PeerUnreachable,
    StorageFull,
    Temporary,
    Undecodable,
    UnknownPeer,
    Unsupported,
)
from hilum.http.errors import status_of
from hilum.http.routes import route_name
from hilum.services.jobs import Cancelled

log = structlog.get_logger(__name__)

#: The node's own paths, whose errors have forms of their own. Everything else is Orthanc's.
_OWN: Final = (
    *("/api", "/dicom-web", "/ohif", "/wado", "/health", "/metrics"),
    *("/static", "/favicon.ico"),
)

#: Orthanc's numbers for what can go wrong, those that handlers raise by name.
OUT_OF_RANGE: Final = 3
BAD_TYPE: Final = 5
INEXISTENT_ITEM: Final = 7
BAD_REQUEST: Final = 8
BAD_FILE_FORMAT: Final = 15
UNKNOWN_RESOURCE: Final = 17
UNKNOWN_TAG: Final = 27
#: Of all of them, its words (Orthanc's Enumerations.cpp).
_WORDS: Final = {
    -1: "Internal error",
    0: "Success",
    2: "Not implemented yet",
    3: "Parameter out of range",
    5: "Bad type for a parameter",
    7: "Accessing an inexistent item",
    8: "Bad request",
    9: "Error in the network protocol",
    12: "Badly formatted URI",
    15: "Bad file format",
    16: "Timeout",
    17: "Unknown resource",
    19: "The file storage is full",
    20: "Corrupted file (e.g. inconsistent MD5 hash)",
    23: "Incompatible format of the images",
    27: "Unknown DICOM tag",
    36: "The database is currently not available (probably a transient situation)",
    37: "This job was canceled",
    46: "A resource with this identifier already exists",
}
#: The nearest class above an error decides, as for the status.
_NUMBERS: Final[dict[type[HilumError], int]] = {
    NotFound: 17,
    UnknownPeer: 7,
    Invalid: 8,
    NotDicom: 15,
    Unsupported: 2,
    Undecodable: 23,
    Conflict: 46,
    Temporary: -1,
    StorageFull: 19,
    IndexUnavailable: 36,
    PeerUnreachable: 9,
    PeerRefused: 9,
    Cancelled: 37,
    Corrupt: 20,
    HilumError: -1,
}
#: PS3.7 C.5.5, Refused: SOP class not supported.
_NOT_SERVED: Final = 0x0122
#: Statuses of those that handlers raise; of any other it is 400.
_STATUSES: Final = {INEXISTENT_ITEM: 404, UNKNOWN_RESOURCE: 404}
_OF_STATUSES: Final = {400: 8, 404: 17, 408: 16, 413: 8, 415: 2, 501: 2}
_RETRY_AFTER_SECONDS: Final = 5
#: As nginx logs it: the client closed the connection before it had an answer.
_CLIENT_GONE: Final = 499


class Refusal(Exception):
    """A request that Orthanc refuses with a number of its own.

    Parameters
    ----------
    number
        One of those above, such as `BAD_REQUEST`.
    details
        What more there is to say.
    """

    def __init__(self, number: int, details: str = "") -> None:
        super().__init__(details)
        self.number = number
        self.status = _STATUSES.get(number, 400)


def speaks_orthanc(path: str) -> bool:
    """Return whether errors on a path are told in Orthanc's form."""
    return path != "/" and not any(path == own or path.startswith(f"{own}/") for own in _OWN)


def error_answer(
    request: web.Request,
    status: int,
    number: int,
    details: str = "",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return an error as Orthanc words it.

    Parameters
    ----------
    status
        Of HTTP.
    number
        Orthanc's own.
    details
        What more there is to say.
    """
    words = _WORDS[number]
    body = {
        **({"Details": details} if details else {}),
        "HttpError": _reason(status),
        "HttpStatus": status,
        "Message": words,
        "Method": request.method,
        "OrthancError": words,
        "OrthancStatus": number,
        "Uri": request.path,
    }
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_INDENT_2),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def _status(error: HilumError) -> int:
    """Return 500 for a node that does not answer: to Orthanc's clients it is one of its faults."""
    if isinstance(error, PeerRefused) and error.status != _NOT_SERVED:
        return 422
    return 500 if isinstance(error, PeerUnreachable | PeerRefused) else status_of(error)


def number_of(error: HilumError) -> int:
    """Return Orthanc's number for an error."""
    return next(_NUMBERS[kind] for kind in type(error).__mro__ if kind in _NUMBERS)


def words_of(number: int) -> str:
    """Return what Orthanc says of a number of its own."""
    return _WORDS[number]


def fault_answer(request: web.Request, error: HilumError) -> web.Response:
    """Return `error` as Orthanc would tell it."""
    status = _status(error)
    number = number_of(error)
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if status == 503 else None
    return error_answer(request, status, number, str(error), headers)


@web.middleware
async def speak_orthanc(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever a handler of Orthanc's paths raises, in its form and without internals."""
    if not speaks_orthanc(request.path):
        return await handler(request)
    try:
        return await handler(request)
    except Refusal as error:
        return error_answer(request, error.status, error.number, str(error))
    except HilumError as error:
        if isinstance(error, Corrupt):
            log.exception("corrupt", route=route_name(request))
        return fault_answer(request, error)
    except web.HTTPMethodNotAllowed as error:
        # Without a body, as Orthanc has it.
        return web.Response(status=405, headers={"Allow": error.headers["Allow"]})
    except web.HTTPException as error:
        if error.status < 400:
            raise
        text = error.text if error.text and not error.text.startswith(f"{error.status}:") else ""
        return error_answer(request, error.status, _OF_STATUSES.get(error.status, -1), text)
    except ConnectionError:
        return web.Response(status=_CLIENT_GONE)  # seen by the log alone
    except web.RequestPayloadError:
        return error_answer(request, 400, 8, "the body is not what its headers announce")
    except Exception:
        log.exception("http_fault", route=route_name(request))
        return error_answer(request, 500, -1)


def _reason(status: int) -> str:
    return web.Response(status=status).reason or ""
