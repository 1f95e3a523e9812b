"""What bodies of requests to other nodes have in common: JSON with members that may be left out."""

from collections.abc import Mapping
from typing import Any, TypeVar

from aiohttp import web

from hilum.http.orthanc.bodies import json_of
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, Refusal

T = TypeVar("T")


async def object_of(request: web.Request) -> Mapping[str, Any]:
    """Return the body, a JSON object.

    Raises
    ------
    Refusal
        It is something else.
    """
    body = await json_of(request)
    if not isinstance(body, dict):
        raise Refusal(BAD_FILE_FORMAT, "Must provide a JSON object")
    return body


def member(body: Mapping[str, Any], name: str, default: T) -> T:
    """Return a member of a body; `default` says of which type it has to be.

    Raises
    ------
    Refusal
        It is of another.
    """
    value: Any = body.get(name, default)
    if not isinstance(value, type(default)) or isinstance(value, bool) != isinstance(default, bool):
        raise Refusal(BAD_FILE_FORMAT, f'The field "{name}" is of the wrong type')
    return value


def is_synchronous(body: Mapping[str, Any]) -> bool:
    """Return whether the client waits for a job to be over: Orthanc has two members for it."""
    if "Synchronous" in body:
        return member(body, "Synchronous", True)
    return not member(body, "Asynchronous", False)
