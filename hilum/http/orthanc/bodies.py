"""Bodies in JSON, read with the errors that Orthanc has for them."""

import codecs
from typing import Any

import orjson
from aiohttp import web

from hilum.http.orthanc.errors import BAD_FILE_FORMAT, BAD_REQUEST, OUT_OF_RANGE, Refusal


async def json_of(request: web.Request) -> Any:
    """Return the body as JSON; None if there is none, or it is something else."""
    try:
        # Writers of .NET put a mark in front of what they write in UTF-8; Orthanc minds none.
        return orjson.loads((await request.read()).removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError:
        return None


async def object_of(request: web.Request) -> dict[str, Any]:
    """Return the body, which is a JSON object.

    Raises
    ------
    Refusal
        It is none.
    """
    body = await json_of(request)
    if not isinstance(body, dict):
        raise Refusal(BAD_REQUEST, "The body must contain a JSON object")
    return body


async def resources_of(request: web.Request) -> list[str]:
    """Return the public ids in ``Resources`` of the body.

    Raises
    ------
    Refusal
        There is no such list.
    """
    return strings(await object_of(request), "Resources")


def strings(body: dict[str, Any], name: str) -> list[str]:
    """Return a field that is a list of strings.

    Raises
    ------
    Refusal
        It is none.
    """
    found = body.get(name)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Refusal(BAD_FILE_FORMAT, f"List of strings expected in field: {name}")
    return found


def truth(body: dict[str, Any], name: str, *, otherwise: bool = False) -> bool:
    """Return a field that is a truth value.

    Raises
    ------
    Refusal
        It is none.
    """
    found = body.get(name, otherwise)
    if not isinstance(found, bool):
        raise Refusal(BAD_REQUEST, f'Field "{name}" should be a Boolean')
    return found


def count(body: dict[str, Any], name: str) -> int:
    """Return a field that is a whole number from 0; 0 without it.

    Raises
    ------
    Refusal
        It is none.
    """
    found = body.get(name, 0)
    if not isinstance(found, int) or isinstance(found, bool):
        raise Refusal(BAD_REQUEST, f'Field "{name}" should be an integer')
    if not 0 <= found < 1 << 53:
        raise Refusal(OUT_OF_RANGE, f'Field "{name}" should be a positive integer')
    return found
