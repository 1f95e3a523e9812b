"""ZIP archives and media of resources: one, or as many as a client names."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import orjson
from aiohttp import web

from hilum.core.errors import Invalid
from hilum.core.levels import Level
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, BAD_REQUEST, INEXISTENT_ITEM, Refusal
from hilum.http.orthanc.network_body import is_synchronous, member
from hilum.http.orthanc.resources import id_of, level_of, path_of
from hilum.http.orthanc.styled import json_answer
from hilum.http.zipping import send_zip
from hilum.imaging.encode import ENCODED
from hilum.imaging.transcode import TARGETS
from hilum.index.resource import Resource
from hilum.index.resources import Resources
from hilum.services.archives import ARCHIVE, MEDIA, Archive, Archives
from hilum.services.network import Network

_LEVELS: Final = (Level.PATIENT, Level.STUDY, Level.SERIES)
_KINDS: Final = "/{kind:archive|media}"
_TOOLS: Final = "/tools/create-{kind:archive|media|media-extended}"
_FILE_NAME: Final = "Archive.zip"
_OUTPUT_NAME: Final = "archive.zip"
_LONGEST_NAME: Final = 200


class ArchiveRoutes:
    """Answers with ZIP files."""

    def __init__(self, resources: Resources, archives: Archives, network: Network) -> None:
        self._resources = resources
        self._archives = archives
        self._network = network

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get(path_of(*_LEVELS, below=_KINDS), self._one),
            web.post(path_of(*_LEVELS, below=_KINDS), self._one_posted),
            web.get(_TOOLS, self._several),
            web.post(_TOOLS, self._several_posted),
            web.get("/jobs/{id}/{output}", self._output),
        ]

    async def _one(self, request: web.Request) -> web.StreamResponse:
        chosen = await self._resources.one(level_of(request), id_of(request))
        name = request.query.get("filename", f"{chosen.id}.zip")
        return await send_zip(request, await self._of([chosen], _asked(request)), _printable(name))

    async def _one_posted(self, request: web.Request) -> web.StreamResponse:
        chosen = await self._resources.one(level_of(request), id_of(request))
        return await self._answer(request, [chosen], await _body(request, {}), f"{chosen.id}.zip")

    async def _several(self, request: web.Request) -> web.StreamResponse:
        if "resources" not in request.query:
            raise Refusal(BAD_REQUEST, "Missing resources argument")
        ids = [each for each in request.query["resources"].split(",") if each]
        archive = await self._of(await self._archives.find(ids), _asked(request))
        return await send_zip(request, archive, _FILE_NAME)

    async def _several_posted(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        ids = body.get("Resources") if isinstance(body, dict) else body
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise Refusal(BAD_FILE_FORMAT, "Expected a list of strings (Orthanc identifiers)")
        chosen = await self._archives.find(ids)
        return await self._answer(
            request, chosen, body if isinstance(body, dict) else {}, _FILE_NAME
        )

    async def _answer(
        self, request: web.Request, chosen: Sequence[Resource], body: Any, name: str
    ) -> web.StreamResponse:
        """Answer with an archive, or with a job that stands for it."""
        if not isinstance(body, dict):
            raise Refusal(BAD_FILE_FORMAT, "Expected a JSON object")
        asked = _asked(request)
        transcode = member(body, "Transcode", "") or None
        asked = replace(
            asked, transcode=transcode, extended=member(body, "Extended", asked.extended)
        )
        archive = await self._of(chosen, asked)
        if is_synchronous(body):
            return await send_zip(request, archive, name)
        files = sum(each.blob.size_bytes for _, each in archive.members)
        task = {
            "resources": [each.id for each in chosen],
            **asdict(asked),
            "file_bytes": files,
            "archive_bytes": archive.size_bytes or files,
        }
        kind = MEDIA if asked.directory else ARCHIVE
        job = await self._network.jobs.submit(
            kind, task, len(archive.members), member(body, "Priority", 0)
        )
        return json_answer({"ID": job.id, "Path": f"/jobs/{job.id}"})

    async def _output(self, request: web.Request) -> web.StreamResponse:
        """Answer with what a job has made: it is packed now, and was only promised."""
        job = await self._network.jobs.one(request.match_info["id"])
        output = request.match_info["output"]
        if output != "archive" or job.kind not in {ARCHIVE, MEDIA}:
            raise Refusal(INEXISTENT_ITEM, f"Job has no such output: {output[:40]}")
        asked = _Asked(**{each.name: job.task[each.name] for each in fields(_Asked)})
        chosen = await self._archives.find(job.task["resources"])
        return await send_zip(request, await self._of(chosen, asked), _OUTPUT_NAME)

    async def _of(self, chosen: Sequence[Resource], asked: "_Asked") -> Archive:
        if asked.transcode is not None and asked.transcode not in (*TARGETS, *ENCODED):
            raise Invalid(f"instances are not rewritten to {asked.transcode[:64]!r}")
        return await self._archives.of(
            chosen,
            directory=asked.directory,
            extended=asked.extended,
            transfer_syntax_uid=asked.transcode,
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a client wants its archive."""

    directory: bool
    extended: bool
    transcode: str | None


def _asked(request: web.Request) -> _Asked:
    """Return what the path and the query say."""
    kind = request.match_info["kind"]
    extended = kind == "media-extended" or "extended" in request.query
    return _Asked(kind != "archive", extended, request.query.get("transcode"))


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


def _printable(name: str) -> str:
    """Return a name that a header can hold."""
    kept = (letter for letter in name if letter.isascii() and letter.isprintable())
    return "".join(letter for letter in kept if letter not in '"\\/')[:_LONGEST_NAME]
