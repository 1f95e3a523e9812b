"""WADO-RS: studies, series, instances and frames, as they are stored or as they are asked for.

References
----------
PS3.18 10.4
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import structlog
from aiohttp import web

from hilum.core.errors import (
    Corrupt,
    HilumError,
    Invalid,
    NoPixelData,
    Undecodable,
    Unsupported,
)
from hilum.http.dicomweb.frames import FrameParts, frame_forms, parse_frames
from hilum.http.dicomweb.instances import (
    Choice,
    choose_forms,
    forms,
    rewritten_part,
    rewritten_parts,
    stored_part,
    url_of,
)
from hilum.http.dicomweb.media_types import (
    DICOM,
    Form,
    Range,
    accepted,
    choose,
    not_acceptable,
)
from hilum.http.dicomweb.related import (
    Part,
    considered,
    entity_tag,
    is_known,
    send_parts,
    send_parts_as_made,
    send_single,
)
from hilum.http.dicomweb.resources import FRAMES, INSTANCE, SERIES, STUDY, resource, uids_of
from hilum.http.dicomweb.urls import service_url
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

log = structlog.get_logger(__name__)


class Wado:
    """Sends what is stored."""

    def __init__(self, retrieve: Retrieve) -> None:
        self._retrieve = retrieve

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get(STUDY, self._instances),
            web.get(SERIES, self._instances),
            web.get(INSTANCE, self._instances),
            web.get(FRAMES, self._frames),
        ]

    async def _instances(self, request: web.Request) -> web.StreamResponse:
        instances = await resource(self._retrieve, request)
        base = service_url(request)
        choices, etag = await considered(
            len(instances), _choices_of, accepted(request), instances, base
        )
        if not choices:
            raise not_acceptable(forms(instances[0].transfer_syntax_uid, single=False))
        if not is_known(request, etag):
            chosen = (choice.instance for choice in choices)
            await asyncio.to_thread(self._retrieve.check, chosen)
        # Some of a study may not be there in what was asked for (PS3.18 Table 10.4.3-1).
        status = 200 if len(choices) == len(instances) else 206
        try:
            if not choices[0].form.multipart:
                return await self._single(request, choices[0], base, etag)
            if all(choice.as_stored for choice in choices):
                parts = await considered(len(choices), self._stored_parts, choices, base)
                return await send_parts(request, DICOM, parts, etag, status)
            async with aclosing(rewritten_parts(self._retrieve, choices, base)) as made:
                return await send_parts_as_made(request, DICOM, made, etag, status)
        except HilumError as error:
            _tell(request, error)
            raise

    def _stored_parts(self, choices: Sequence[Choice], base: str) -> list[Part]:
        return [
            stored_part(self._retrieve, each.instance, url_of(each.instance, base))
            for each in choices
        ]

    async def _single(
        self, request: web.Request, choice: Choice, base: str, etag: str
    ) -> web.StreamResponse:
        part, file = await rewritten_part(self._retrieve, choice, url_of(choice.instance, base))
        try:
            return await send_single(request, part, etag)
        finally:
            if file is not None:
                file.close()

    async def _frames(self, request: web.Request) -> web.StreamResponse:
        (instance, *_) = await resource(self._retrieve, request)
        uid = instance.identity.sop_instance_uid
        if not instance.number_of_frames:
            raise NoPixelData(f"instance {uid} has no pixel data")
        indices = parse_frames(request.match_info["frames"], instance.number_of_frames)
        offered = frame_forms(instance.transfer_syntax_uid, single=len(indices) == 1)
        form = choose(accepted(request), offered)
        if form is None:
            raise not_acceptable(offered)
        base = service_url(request)
        etag = entity_tag(base, instance.blob.digest, indices, form)
        try:
            return await self._send_frames(request, instance, indices, form, etag)
        except Corrupt as error:
            # Kept as it was sent; it is the sender's pixels that are damaged.
            _tell(request, error)
            raise Undecodable(f"instance {uid}: {error}") from error
        except Invalid as error:
            _tell(request, error)
            raise Unsupported(f"instance {uid}: {error}") from error

    async def _send_frames(
        self,
        request: web.Request,
        instance: StoredInstance,
        indices: Sequence[int],
        form: Form,
        etag: str,
    ) -> web.StreamResponse:
        url = url_of(instance, service_url(request))
        frames = FrameParts(self._retrieve, instance, form, url)
        parts = await frames.known(indices)
        if parts is None:
            async with aclosing(frames.made(indices)) as made:
                return await send_parts_as_made(request, form.media_type, made, etag)
        if form.multipart:
            return await send_parts(request, form.media_type, parts, etag)
        return await send_single(request, parts[0], etag)


def _choices_of(
    accepts: Sequence[Sequence[Range]], instances: Sequence[StoredInstance], base: str
) -> tuple[list[Choice], str]:
    """Return the instances that can be had, each in its form, and the validator of them all."""
    choices = list(choose_forms(accepts, instances))
    return choices, entity_tag(base, [(each.instance.blob.digest, each.form) for each in choices])


def _tell(request: web.Request, error: HilumError) -> None:
    """Log an answer that was broken off: the client only sees that it is not whole."""
    if request.transport is None or request.transport.is_closing():
        uids = uids_of(request)
        log.error("retrieve_broken_off", reason=str(error), code=error.code, **uids)
