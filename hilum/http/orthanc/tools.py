"""Small things that clients ask of an Orthanc before they do anything else, or instead of it."""

from typing import Final

from aiohttp import web
from pydicom.uid import AllTransferSyntaxes

from hilum.http.orthanc.bodies import json_of
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, Refusal
from hilum.http.orthanc.modality_json import read_modality, timeout_in
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.services.dimse import in_thread
from hilum.services.network import Network

#: For text that does not say how it is encoded.
_DEFAULT_ENCODING: Final = "Latin1"
_TRANSFER_SYNTAXES: Final = sorted(str(uid) for uid in AllTransferSyntaxes)


class Tools:
    """Answers for what the node cannot be told to do otherwise, and for one echo."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.post("/tools/dicom-echo", self._echo),
            web.get("/plugins", self._plugins),
            web.get("/tools/default-encoding", self._default_encoding),
            web.get("/tools/accepted-transfer-syntaxes", self._transfer_syntaxes),
            web.get("/tools/unknown-sop-class-accepted", self._unknown_sop_class),
            web.get("/tools/log-level", self._log_level),
        ]

    async def _echo(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        if body is None:
            raise Refusal(BAD_FILE_FORMAT, "Cannot parse the JSON body")
        modality = read_modality("unnamed", body)
        options = body if isinstance(body, dict) else {}
        call = self._network.modalities.call(modality, timeout_seconds=timeout_in(options))
        await in_thread(lambda: self._network.dimse.echo(call))
        return json_answer({})

    async def _plugins(self, _request: web.Request) -> web.Response:
        return json_answer([])

    async def _default_encoding(self, _request: web.Request) -> web.Response:
        return text_answer(_DEFAULT_ENCODING)

    async def _transfer_syntaxes(self, _request: web.Request) -> web.Response:
        return json_answer(_TRANSFER_SYNTAXES)

    async def _unknown_sop_class(self, _request: web.Request) -> web.Response:
        return text_answer("1")

    async def _log_level(self, _request: web.Request) -> web.Response:
        return text_answer("default")
