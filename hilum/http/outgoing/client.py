"""The HTTP client of a worker: one pool of connections for all who are called."""

from typing import TypeAlias

import aiohttp

Client: TypeAlias = aiohttp.ClientSession


def make_client() -> Client:
    """Return a client; needs a running loop. Use it as a context: that closes it.

    It keeps no cookies, and follows no proxy of the environment. Time limits are for
    whoever asks.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
