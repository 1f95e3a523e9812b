"""Who may ask at all: users with passwords, and no web page of a stranger.

Users are named as Orthanc's ``RegisteredUsers`` are, and say who they are by HTTP Basic
authentication (RFC 7617), so that the clients of an Orthanc need no change. Without users
everybody is let in.

A browser that is let in lends its rights to any page it shows: a page of another origin can
have it post a form here, with the password it remembers. Such requests are refused by what
the browser itself says of them (`Sec-Fetch-Site`, `Origin`), with users and without.

Passwords are compared as they stand in the settings, which takes a microsecond: each request
brings one. Who tries many of them has to wait (`hilum.http.attempts`).
"""

import hmac
from collections.abc import Collection, Mapping
from math import ceil
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import BasicAuth, web
from aiohttp.typedefs import Handler, Middleware

from hilum.http.answers import failure
from hilum.http.attempts import WINDOW_SECONDS, Attempts
from hilum.http.client_address import client_address
from hilum.http.dicomweb.urls import base_url

log = structlog.get_logger(__name__)

#: The user who was let in, of a request; not there if anybody is.
USER: Final = web.RequestKey("user", str)
REALM: Final = "Hilum"
#: Probes of an orchestrator have no password, and learn nothing of patients.
_OPEN: Final = ("/health",)
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: What browsers say of a request that the user, or a page of this node, has made.
_OWN: Final = frozenset({"same-origin", "none"})


def asker(request: web.Request) -> str:
    """Return who makes a request, as far as that is known: the user, else the address."""
    return request.get(USER) or request.remote or ""


class Guard:
    """Turns away whoever may not ask.

    Parameters
    ----------
    users
        Passwords by name; none: everybody is let in.
    origins
        Whose pages may do more than read (`hilum.http.cors`); ``*`` for all.
    """

    def __init__(self, users: Mapping[str, str], origins: Collection[str] = ()) -> None:
        self._users = {name: password.encode() for name, password in users.items()}
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._attempts = Attempts()
        self.wrong_passwords = 0
        """How many were given."""

    def middleware(self) -> Middleware:
        """Return the middleware; place it behind the one that answers preflights."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._made_on_purpose(request):
                return failure(403, "foreign-page", "a page of another origin may not do this")
            if self._users and not request.path.startswith(_OPEN):
                refusal = self._identify(request)
                if refusal is not None:
                    return refusal
            return await handler(request)

        return guard

    def _identify(self, request: web.Request) -> web.Response | None:
        """Note on a request who makes it; return an answer instead if that is not known."""
        try:
            given = BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
        except ValueError:
            return _challenge()
        address = client_address(request)
        seconds = ceil(self._attempts.seconds_to_wait(address, given.login))
        if seconds > 0:
            text = f"too many wrong passwords; try again in {seconds} s"
            return failure(429, "too-many-attempts", text, {"Retry-After": str(seconds)})
        password = self._users.get(given.login)
        # A user who does not exist takes as long as a wrong password.
        matches = hmac.compare_digest(given.password.encode(), password or b"")
        if matches and password is not None:
            request[USER] = given.login
            return None
        self.wrong_passwords += 1
        if self._attempts.note(address, given.login, given.password):
            log.warning(
                "too many wrong passwords",
                client=address,
                # Else it is anything that somebody typed: a password in the wrong field, too.
                user=given.login if password is not None else None,
                seconds=WINDOW_SECONDS,
            )
        return _challenge()

    def _made_on_purpose(self, request: web.Request) -> bool:
        """Whether this is no request that a strange page has a browser make."""
        if request.method in _SAFE_METHODS:
            return True
        origin = request.headers.get("Origin", "").lower()
        if origin and (origin in self._origins or "*" in self._origins):
            return True
        site = request.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site in _OWN
        # An older browser, or a program: that sends no origin.
        return not origin or urlsplit(origin).netloc == urlsplit(base_url(request).lower()).netloc


def _challenge() -> web.Response:
    headers = {"WWW-Authenticate": f'Basic realm="{REALM}", charset="UTF-8"'}
    return failure(401, "unauthorized", "name and password, please", headers)
