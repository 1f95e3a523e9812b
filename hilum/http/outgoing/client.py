"""The HTTP client of a worker: one pool of connections for all who are called."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

import aiohttp

Client: TypeAlias = aiohttp.ClientSession

#: Shorter than servers keep a connection that is idle (Node: 5 s): what is sent on one that is just
#: being closed counts as a failure.
_KEPT_SECONDS: Final = 4.0


def make_client() -> Client:
    """Return a client; needs a running loop. Use it as a context: that closes it.

    It keeps no cookies, and follows no proxy of the environment. Time limits are for
    whoever asks.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=_KEPT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def retry_after_seconds(text: str | None) -> float | None:
    """Return how long a ``Retry-After`` asks for: seconds or a date (RFC 9110 10.2.3)."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, math.ceil(seconds))


def reason_of(error: Exception) -> str:
    """Return what went wrong, without the URL: it may hold a password."""
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error.strerror or str(error.os_error)
        return f"cannot connect to {error.host}:{error.port}: {cause}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the receiver closed the connection without an answer"
    if isinstance(error, OSError) and error.strerror:
        return f"the connection broke: {error.strerror}"
    return f"no answer: {type(error).__name__}"
