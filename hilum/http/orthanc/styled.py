"""JSON as Orthanc prints it, and answers made of it.

Members sorted by name, an indent of three blanks, every item of a list on a line of its own.
Clients parse it, but people and scripts have come to compare it line by line.
"""

from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import orjson
from aiohttp import web

JSON: Final = "application/json"
_INDENT: Final = "   "


def styled(value: Any) -> str:
    """Return a JSON value in Orthanc's style.

    Parameters
    ----------
    value
        Dictionaries with strings for keys, lists, tuples, strings, numbers, truth values,
        None.
    """
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        # All ids there are may be a million: a tenth of the time.
        items = f",\n{_INDENT}".join(map(encode_basestring_ascii, value))
        return f"[\n{_INDENT}{items}\n]"
    return "".join(_pieces(value, "\n"))


def _pieces(value: Any, newline: str) -> Iterator[str]:
    """Yield the pieces of a value; `newline` ends a line and indents the next one."""
    if isinstance(value, str):
        yield encode_basestring_ascii(value)
    elif isinstance(value, dict) and value:
        inside = newline + _INDENT
        separator = "{"
        for key in sorted(value):
            member = value[key]
            # What has members or items begins a line: Orthanc's blank before that stays.
            begin = inside if isinstance(member, dict | list | tuple) and member else ""
            yield f"{separator}{inside}{encode_basestring_ascii(key)} : {begin}"
            yield from _pieces(member, inside)
            separator = ","
        yield f"{newline}}}"
    elif isinstance(value, list | tuple) and value:
        inside = newline + _INDENT
        separator = "["
        for item in value:
            yield separator + inside
            yield from _pieces(item, inside)
            separator = ","
        yield f"{newline}]"
    else:
        yield orjson.dumps(value).decode()


def json_answer(value: Any, status: int = 200) -> web.Response:
    """Return `value` as Orthanc answers with JSON."""
    return web.Response(
        body=styled(value).encode(), status=status, content_type=JSON, charset="utf-8"
    )


def text_answer(text: str) -> web.Response:
    """Return `text` as Orthanc answers with a single value."""
    # Not `text=`: aiohttp would name a character set, and Orthanc does not.
    return web.Response(body=text.encode(), content_type="text/plain")
