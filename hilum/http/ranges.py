"""Answers that a client may have already, or want only a part of (RFC 9110 13, 14)."""

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


def has(request: web.Request, etag: str) -> bool:
    """Return whether the client has what `etag` names (RFC 9110 13.1.2, weak comparison)."""
    said = request.headers.get("If-None-Match")
    if said is None:
        return False
    # Nearly always what it was told, word for word.
    return said == f'"{etag}"' or any(
        tag.value in (etag, "*") for tag in request.if_none_match or ()
    )


def not_modified(etag: str, headers: Mapping[str, str]) -> web.Response:
    """Return the answer to a client that has it."""
    return web.Response(status=304, headers={"ETag": f'"{etag}"', **headers})


def whole_or_part(
    request: web.Request, content: bytes, media_type: str, etag: str, headers: Mapping[str, str]
) -> web.Response:
    """Return `content`, or the one range of it that `request` asks for.

    Several ranges at once are answered with the whole, as RFC 9110 14.2 allows.

    Parameters
    ----------
    etag
        Strong, without quotation marks.
    """
    headers = {
        "Content-Type": media_type,
        "ETag": f'"{etag}"',
        "Accept-Ranges": "bytes",
        **headers,
    }
    size = len(content)
    asked = requested_range(request, size, etag)
    if asked is None:
        return web.Response(body=content, headers=headers)
    if not asked:
        headers = {"Content-Range": f"bytes */{size}", **headers, "Content-Type": "text/plain"}
        return web.Response(status=416, text=f"there are {size} bytes", headers=headers)
    headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{size}"
    return web.Response(status=206, body=content[asked.start : asked.stop], headers=headers)


def requested_range(request: web.Request, size_bytes: int, etag: str) -> range | None:
    """Return the bytes that `request` asks for.

    Parameters
    ----------
    size_bytes
        Of the whole.
    etag
        Of the whole; strong, without quotation marks.

    Returns
    -------
    range or None
        None: the whole. Empty: none of what there is, which is answered with 416.

    References
    ----------
    RFC 9110 13.1.5, 14.1.2, 14.2
    """
    said = request.headers.get("Range")
    if said is None or request.method != "GET":
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != f'"{etag}"':
        return None
    match = _RANGE.fullmatch(said)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(size_bytes - int(match[2]), 0), size_bytes)
    first = int(match[1])
    last = int(match[2]) if match[2] else size_bytes - 1
    if match[2] and last < first:
        return None  # which is no range at all
    return range(min(first, size_bytes), min(last + 1, size_bytes))
