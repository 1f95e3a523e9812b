"""ZIP archives and media of resources: one, or as many as a client names."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from hilum.core.errors import Invalid
from hilum.core.levels import Level
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, BAD_REQUEST, Refusal
from hilum.http.orthanc.resources import id_of, level_of, path_of
from hilum.http.zipping import send_zip
from hilum.imaging.encode import ENCODED
from hilum.imaging.transcode import TARGETS
from hilum.index.resources import Resource, Resources
from hilum.services.archives import Archives

_LEVELS: Final = (Level.PATIENT, Level.STUDY, Level.SERIES)
_KINDS: Final = "/{kind:archive|media}"
_TOOLS: Final = "/tools/create-{kind:archive|media|media-extended}"
_FILE_NAME: Final = "Archive.zip"
_LONGEST_NAME: Final = 200


class ArchiveRoutes:
    """Answers with ZIP files."""

    def __init__(self, resources: Resources, archives: Archives) -> None:
        self._resources = resources
        self._archives = archives

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get(path_of(*_LEVELS, below=_KINDS), self._one),
            web.post(path_of(*_LEVELS, below=_KINDS), self._one_posted),
            web.get(_TOOLS, self._several),
            web.post(_TOOLS, self._several_posted),
        ]

    async def _one(self, request: web.Request) -> web.StreamResponse:
        chosen = await self._resources.one(level_of(request), id_of(request))
        name = request.query.get("filename", f"{chosen.id}.zip")
        extended = "extended" in request.query
        return await self._send(request, [chosen], name, request.query.get("transcode"), extended)

    async def _one_posted(self, request: web.Request) -> web.StreamResponse:
        chosen = await self._resources.one(level_of(request), id_of(request))
        asked = _options(await _body(request, {}))
        return await self._send(request, [chosen], f"{chosen.id}.zip", *asked)

    async def _several(self, request: web.Request) -> web.StreamResponse:
        if "resources" not in request.query:
            raise Refusal(BAD_REQUEST, "Missing resources argument")
        ids = [each for each in request.query["resources"].split(",") if each]
        chosen = await self._archives.find(ids)
        extended = request.match_info["kind"] == "media-extended"
        return await self._send(
            request, chosen, _FILE_NAME, request.query.get("transcode"), extended
        )

    async def _several_posted(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        ids = body.get("Resources") if isinstance(body, dict) else body
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise Refusal(BAD_FILE_FORMAT, "Expected a list of strings (Orthanc identifiers)")
        chosen = await self._archives.find(ids)
        extended = request.match_info["kind"] == "media-extended"
        asked = _options(body if isinstance(body, dict) else {}, extended=extended)
        return await self._send(request, chosen, _FILE_NAME, *asked)

    async def _send(
        self,
        request: web.Request,
        chosen: list[Resource],
        name: str,
        transcode: str | None,
        extended: bool,
    ) -> web.StreamResponse:
        if transcode is not None and transcode not in (*TARGETS, *ENCODED):
            raise Invalid(f"instances are not rewritten to {transcode[:64]!r}")
        archive = await self._archives.of(
            chosen,
            directory=request.match_info["kind"] != "archive",
            extended=extended,
            transfer_syntax_uid=transcode,
        )
        return await send_zip(request, archive, _printable(name))


async def _body(request: web.Request, default: Any = None) -> Any:
    """Return the JSON of a body."""
    text = await request.read()
    if not text and default is not None:
        return default
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        details = "Expected a list of resources to archive in the body"
        raise Refusal(BAD_FILE_FORMAT, details) from error


def _options(body: Mapping[str, Any], *, extended: bool = False) -> tuple[str | None, bool]:
    """Return what to transcode to, and whether a DICOMDIR is to say more."""
    if not isinstance(body, dict):
        raise Refusal(BAD_FILE_FORMAT, "Expected a JSON object")
    if body.get("Asynchronous") is True or body.get("Synchronous") is False:
        # A file would have to lie somewhere until somebody asks for it, or nobody does.
        raise web.HTTPNotImplemented(text="archives are sent while they are made, without a job")
    transcode = body.get("Transcode")
    return str(transcode) if transcode is not None else None, bool(body.get("Extended", extended))


def _printable(name: str) -> str:
    """Return a name that a header can hold."""
    kept = (letter for letter in name if letter.isascii() and letter.isprintable())
    return "".join(letter for letter in kept if letter not in '"\\/')[:_LONGEST_NAME]
