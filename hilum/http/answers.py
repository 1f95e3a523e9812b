"""The JSON envelope of everything under ``/api`` (docs/http-api.md)."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return `body` as JSON, as it stands."""
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def success(data: Any, status: int = 200, **beside: Any) -> web.Response:
    """Return ``{"success": true, "data": …}``, with what belongs beside the data."""
    return json_response({"success": True, **beside, "data": data}, status)


def failure(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return ``{"success": false, "error": {"code", "message"}}``."""
    body = {"success": False, "error": {"code": code, "message": message}}
    return json_response(body, status, headers)
