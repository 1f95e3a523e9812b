"""Long lists: described and sent a thousand at a time, in bounded memory and turns of the loop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web

from hilum.http.orthanc.styled import JSON, json_answer, styled

#: Resources that are described at once. MongoDB takes no more than some 300,000 ids in a
#: question, and whoever asks for less should not wait for whoever asks for all.
AT_ONCE: Final = 1000

Describe = Callable[[Sequence[str]], Awaitable[list[dict[str, Any]]]]


async def list_answer(
    request: web.Request, ids: Sequence[str], describe: Describe
) -> web.StreamResponse:
    """Answer with what is told of resources, in their order.

    Parameters
    ----------
    describe
        Tells of some of them, and leaves out those that are gone.

    Notes
    -----
    A fault after the first thousand breaks the connection: there is no status left to say it.
    """
    told = await describe(ids[:AT_ONCE])
    if len(ids) <= AT_ONCE:
        return json_answer(told)
    response = web.StreamResponse()
    response.content_type, response.charset = JSON, "utf-8"
    await response.prepare(request)
    separator = "["
    for start in range(0, len(ids), AT_ONCE):
        if start:
            told = await describe(ids[start : start + AT_ONCE])
        if told:
            # A list's inside, without the brackets around it.
            items = (await asyncio.to_thread(styled, told))[1:-2]
            await response.write(f"{separator}{items}".encode())
            separator = ","
    await response.write(b"[]" if separator == "[" else b"\n]")
    await response.write_eof()
    return response
