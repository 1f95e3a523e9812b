"""The one map from domain errors to HTTP, and the last net under every handler."""

from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from hilum.core.errors import (
    Conflict,
    Corrupt,
    HilumError,
    Invalid,
    NotFound,
    PeerRefused,
    PeerUnreachable,
    StorageFull,
    Temporary,
    Unsupported,
)
from hilum.http.answers import failure
from hilum.http.routes import route_name

log = structlog.get_logger(__name__)

#: The nearest class above an error decides, so a new error needs no line of its own.
STATUSES: Final[dict[type[HilumError], int]] = {
    NotFound: 404,
    Invalid: 400,
    Unsupported: 415,
    Conflict: 409,
    Temporary: 503,
    StorageFull: 507,
    PeerUnreachable: 502,
    PeerRefused: 502,
    Corrupt: 500,
    HilumError: 500,
}
#: Codes for what aiohttp itself refuses; any other status goes by its reason phrase.
_CODES: Final = {
    404: "not-found",
    405: "method-not-allowed",
    408: "timeout",
    413: "too-large",
    415: "unsupported",
}
_RETRY_AFTER_SECONDS: Final = 5
#: As nginx logs it: the client closed the connection before it had an answer.
_CLIENT_GONE: Final = 499
#: Paths where people and browsers ask, not programs: aiohttp's plain answers do there.
_PAGES: Final = ("/", "/static/", "/favicon.ico")


def status_of(error: HilumError) -> int:
    """Return the HTTP status that says what `error` says."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def error_response(error: HilumError) -> web.Response:
    """Return `error` as an answer; its message is fit to be shown (`hilum.core.errors`)."""
    status = status_of(error)
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if status == 503 else None
    return failure(status, error.code, str(error), headers)


@web.middleware
async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever a handler raises, without internals."""
    try:
        return await handler(request)
    except HilumError as error:
        if isinstance(error, Corrupt):
            log.exception("corrupt", route=route_name(request))
        return error_response(error)
    except web.HTTPException as error:
        if error.status < 400 or request.path in _PAGES or request.path.startswith("/static/"):
            raise
        return _refusal(error)
    except ConnectionError:
        return web.Response(status=_CLIENT_GONE)  # seen by the log alone
    except web.RequestPayloadError:
        return failure(400, "malformed-body", "the body is not what its headers announce")
    except Exception:
        log.exception("http_fault", route=route_name(request))
        return failure(500, "internal", "the node failed to answer; its log says why")


def _refusal(error: web.HTTPException) -> web.Response:
    kept = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    code = _CODES.get(error.status, error.reason.lower().replace(" ", "-"))
    # Without a text of ours aiohttp's own is there, which only repeats the status.
    text = error.text if error.text and not error.text.startswith(f"{error.status}:") else None
    return failure(error.status, code, text or error.reason, kept)
