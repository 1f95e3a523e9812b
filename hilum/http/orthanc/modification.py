"""``/instances/{id}/modify`` and ``/anonymize``: an instance with other elements, as a file.

It is not stored: whoever wants it kept posts it.
"""

import asyncio
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiohttp import web
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID

from hilum import __version__
from hilum.core.levels import Level
from hilum.http.dicomweb.media_types import DICOM
from hilum.http.dicomweb.related import Part, entity_tag, send_single
from hilum.http.dicomweb.sending import FileRange
from hilum.http.orthanc.bodies import json_of, strings, truth
from hilum.http.orthanc.errors import (
    BAD_FILE_FORMAT,
    BAD_REQUEST,
    BAD_TYPE,
    OUT_OF_RANGE,
    UNKNOWN_TAG,
    Refusal,
)
from hilum.http.orthanc.resources import id_of, path_of
from hilum.http.orthanc.tag_names import tag_named
from hilum.imaging.anonymization import EDITION, IDENTIFIERS, Changes, anonymize, modify
from hilum.imaging.around_pixels import rewrite
from hilum.imaging.element_names import name_of, vr_of
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

#: Editions that Orthanc knows. Whichever is asked for, it is the newest.
_EDITIONS: Final = frozenset({"2008", "2017c", "2021b", EDITION})
_PROFILE: Final = f"Hilum {__version__} - PS 3.15-{EDITION} Table E.1-1 Basic Profile"
_WHOLE: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV"})
_REAL: Final = frozenset({"FL", "FD"})
_BINARY: Final = frozenset({"AT", "OB", "OD", "OF", "OL", "OV", "OW", "UN"})


class Modification:
    """Answers with instances that are changed."""

    def __init__(self, resources: Resources, retrieve: Retrieve) -> None:
        self._resources = resources
        self._retrieve = retrieve

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.post(path_of(Level.IMAGE, below="/modify"), self._modify),
            web.post(path_of(Level.IMAGE, below="/anonymize"), self._anonymize),
        ]

    async def _modify(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        private = truth(body, "RemovePrivateTags")
        return await self._answer(request, partial(modify, changes=_changes(body, private)))

    async def _anonymize(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        edition = body.get("DicomVersion", EDITION)
        if edition not in _EDITIONS:
            what = "Unknown specific version of the DICOM standard"
            raise Refusal(OUT_OF_RANGE, f"{what}: {str(edition)[:40]}")
        changes = _changes(body, not truth(body, "KeepPrivateTags"))
        # Who keeps something, or replaces it, may know why: it is not the profile any more.
        altered = changes.kept or changes.replaced or changes.removed
        whole = changes.without_private and not altered
        method = _PROFILE if whole else f"Hilum {__version__}"
        return await self._answer(request, partial(anonymize, changes=changes, method=method))

    async def _answer(
        self, request: web.Request, change: Callable[[Dataset], None]
    ) -> web.StreamResponse:
        instance = (await self._resources.one(Level.IMAGE, id_of(request))).stored
        assert instance is not None
        await asyncio.to_thread(self._retrieve.check, [instance])
        opened = partial(self._retrieve.open, instance)
        pixels_begin = instance.pixel_data.offset if instance.pixel_data else None
        head_bytes = pixels_begin or instance.blob.size_bytes

        def made() -> tuple[bytes | FileRange, ...]:
            with opened() as file:
                head, pixels, tail = rewrite(file, instance.transfer_syntax_uid, head_bytes, change)
            return head, FileRange(opened, *pixels, _name(instance)), tail

        pieces = await asyncio.to_thread(made)
        # It is never the same twice.
        return await send_single(request, Part(DICOM, pieces), entity_tag(uuid.uuid4()))


def _name(instance: StoredInstance) -> str:
    return f"instance {instance.identity.sop_instance_uid}"


async def _body(request: web.Request) -> dict[str, Any]:
    body = await json_of(request)
    if not isinstance(body, dict):
        raise Refusal(BAD_FILE_FORMAT, "Must provide a JSON object")
    return body


def _changes(body: dict[str, Any], without_private: bool) -> Changes:
    """Return what a body wants.

    Raises
    ------
    Refusal
        It makes no sense, or names a patient, a study, a series or an instance without
        ``Force``.
    """
    replaced = body.get("Replace", {})
    if not isinstance(replaced, dict):
        raise Refusal(BAD_REQUEST, 'Field "Replace" should be a JSON object')
    tags = {_tag(name): value for name, value in replaced.items()}
    removed = frozenset(map(_tag, strings(body, "Remove") if "Remove" in body else ()))
    kept = frozenset(map(_tag, strings(body, "Keep") if "Keep" in body else ()))
    if not truth(body, "Force"):
        for what, named in (("replaced", tags), ("removed", removed), ("kept", kept)):
            for tag in IDENTIFIERS:
                if tag in named:
                    raise Refusal(
                        BAD_REQUEST,
                        f'Marking tag "{name_of(tag)}" as to be {what} requires the "Force" '
                        "option to be set to true",
                    )
    if removed.intersection(IDENTIFIERS):
        raise Refusal(BAD_REQUEST, "nothing is left that names the instance")
    elements = {tag: _element(tag, value) for tag, value in tags.items()}
    for tag in IDENTIFIERS[1:]:
        if tag in elements and not UID(str(elements[tag].value)).is_valid:
            raise Refusal(BAD_REQUEST, f"{name_of(tag)} is no UID")
    return Changes(elements, removed, kept, without_private)


def _tag(name: str) -> int:
    """Return the tag that a name means: of the data set, and of its top level."""
    tag = tag_named(name)
    if tag is None:
        raise Refusal(UNKNOWN_TAG, f"{name[:64]} is no tag")
    if tag >> 16 <= 2 or tag >> 16 == 0x7FE0:
        raise Refusal(BAD_REQUEST, f"{name[:64]} is not for clients to change")
    return Tag(tag)


def _element(tag: int, value: Any) -> DataElement:
    """Return an element of a value in JSON: text, or of a sequence a list of its items."""
    name = name_of(tag)
    if Tag(tag).is_private:
        raise Refusal(BAD_REQUEST, f"{name}: private elements are not replaced")
    vr = vr_of(tag)
    if vr == "SQ":
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise Refusal(BAD_TYPE, f"Bad Parameter type for tag {name}")
        return DataElement(tag, vr, Items([_item(each) for each in value]))
    if not isinstance(value, str) or vr in _BINARY:
        raise Refusal(BAD_TYPE, f"Bad Parameter type for tag {name}")
    if not value:
        return DataElement(tag, vr, None)
    try:
        if vr in _WHOLE:
            return DataElement(tag, vr, [int(each) for each in value.split("\\")])
        if vr in _REAL:
            return DataElement(tag, vr, [float(each) for each in value.split("\\")])
        return DataElement(tag, vr, value)
    except (ValueError, TypeError, OverflowError) as error:
        raise Refusal(BAD_REQUEST, f"not a value of {name}") from error


def _item(members: dict[str, Any]) -> Dataset:
    item = Dataset()
    for name, value in members.items():
        item.add(_element(_tag(name), value))
    return item
