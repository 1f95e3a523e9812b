"""``GET /api/dicom/dictionary``: the keywords of PS3.6, for programs that show data sets.

The DICOM JSON model (PS3.18 F.2) names attributes by tag alone.
"""

import hashlib
import json
from functools import cache
from typing import Final

from aiohttp import web
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

_ENTRY_KEYWORD: Final = 4
# It changes with the node's version alone; `no-cache` lets a browser keep it and ask.
_CACHING: Final = "no-cache"


class Dictionary:
    """Answers with the whole dictionary; a page asks once and keeps it."""

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.get("/api/dicom/dictionary", self._keywords)]

    async def _keywords(self, request: web.Request) -> web.Response:
        body, etag = _body()
        known = request.if_none_match or ()
        if any(tag.value in (etag, "*") for tag in known):
            response = web.Response(status=304)
        else:
            response = web.Response(body=body, content_type="application/json")
            response.enable_compression()
        response.etag = etag
        response.headers["Cache-Control"] = _CACHING
        return response


def keywords() -> dict[str, str]:
    """Return the keyword of each tag, ``"00100010"``; of repeating groups as ``"60xx3000"``."""
    plain = {f"{tag:08X}": entry[_ENTRY_KEYWORD] for tag, entry in DicomDictionary.items()}
    repeating = {mask: entry[_ENTRY_KEYWORD] for mask, entry in RepeatersDictionary.items()}
    return {tag: keyword for tag, keyword in {**plain, **repeating}.items() if keyword}


@cache
def _body() -> tuple[bytes, str]:
    body = json.dumps({"success": True, "data": keywords()}, separators=(",", ":")).encode()
    return body, hashlib.sha256(body).hexdigest()[:32]
