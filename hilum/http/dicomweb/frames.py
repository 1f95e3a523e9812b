"""Frames as parts of an answer: which are asked for, in what form, and where they come from."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Final

from hilum.core.errors import Invalid, NotFound
from hilum.http.dicomweb.media_types import OCTET_STREAM, Form, content_type
from hilum.http.dicomweb.related import Part
from hilum.http.dicomweb.sending import FileRange
from hilum.imaging.decode import DECODABLE, NATIVE
from hilum.imaging.encode import ENCODED, can_encode
from hilum.imaging.encoding import EXPLICIT_VR_LITTLE_ENDIAN
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

_SYNTAX: Final = "1.2.840.10008.1.2."
#: Media types of compressed frames (PS3.18 Tables 8.7.3-2, 8.7.3-4 and 8.7.3-5).
_MEDIA_TYPES: Final = {
    _SYNTAX + suffix: media_type
    for media_type, suffixes in {
        "image/dicom-rle": "5",
        "image/jpeg": "4.50 4.51 4.57 4.70",
        "image/jls": "4.80 4.81",
        "image/jp2": "4.90 4.91",
        "image/jpx": "4.92 4.93",
        "image/jphc": "4.201 4.202 4.203",
        "image/jxl": "4.110 4.111 4.112",
        "application/x-deflate": "8.1",
        "video/mpeg": "4.100 4.100.1 4.101 4.101.1",
        "video/mp4": "4.102 4.102.1 4.103 4.103.1 4.104 4.104.1 4.105 4.105.1 4.106 4.106.1 "
        "4.107 4.108",
    }.items()
    for suffix in suffixes.split()
}
_LIST: Final = re.compile(r"[1-9][0-9]{0,9}(?:-[1-9][0-9]{0,9})?")
#: A film whole; more is asked for by mistake.
_MOST_FRAMES: Final = 100_000


def parse_frames(text: str, frame_count: int) -> tuple[int, ...]:
    """Return the frames of a list such as ``1,3,7-9``, counted from 0, in its order.

    Ranges are an addition of this node's; PS3.18 10.4.1.1.4 knows single numbers.

    Raises
    ------
    Invalid
        It is no such list, or a very long one.
    NotFound
        The instance has fewer frames.
    """
    indices: list[int] = []
    for element in text.split(","):
        if not _LIST.fullmatch(element):
            raise Invalid(f"{text[:80]!r} is no list of frame numbers, counted from 1")
        first, _, last = element.partition("-")
        start, stop = int(first), int(last or first)
        if stop < start:
            raise Invalid(f"the frames {element} end before they begin")
        if stop > frame_count:
            raise NotFound(f"no frame {stop}; there are {frame_count}")
        indices.extend(range(start - 1, stop))
        if len(indices) > _MOST_FRAMES:
            raise Invalid(f"more than {_MOST_FRAMES} frames at once")
    return tuple(indices)


def frame_forms(transfer_syntax_uid: str, *, single: bool) -> list[Form]:
    """Return the forms that frames can be had in, as they are stored first.

    Parameters
    ----------
    transfer_syntax_uid
        What they are stored in.
    single
        Whether it is one frame, which can be had without a multipart around it.
    """
    forms = []
    for multipart in (True, False)[: 1 + single]:
        if transfer_syntax_uid not in NATIVE:
            media_type = _MEDIA_TYPES.get(transfer_syntax_uid, OCTET_STREAM)
            forms.append(Form(media_type, transfer_syntax_uid, multipart))
        if transfer_syntax_uid in DECODABLE:
            forms.append(Form(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, multipart))
        forms += [
            Form(_MEDIA_TYPES[uid], uid, multipart)
            for uid in ENCODED
            if uid != transfer_syntax_uid and can_encode(transfer_syntax_uid, uid)
        ]
    return forms


class FrameParts:
    """Frames of one instance in one form.

    Parameters
    ----------
    url
        Retrieve URL of the instance.
    """

    def __init__(self, retrieve: Retrieve, instance: StoredInstance, form: Form, url: str) -> None:
        self._retrieve = retrieve
        self._instance = instance
        self._form = form
        self._url = url

    async def known(self, indices: Sequence[int]) -> list[Part] | None:
        """Return frames that need not be made, and a single one in any case; else None.

        Raises
        ------
        HilumError
            See `Retrieve.stored_frames` and `Retrieve.raw_frame`.
        """
        stored = self._instance.transfer_syntax_uid
        native = stored in NATIVE and self._form.media_type == OCTET_STREAM
        if native or self._form.transfer_syntax_uid == stored:
            parts = await asyncio.to_thread(self._stored, indices)
            if parts is not None:
                return parts
        return [await self._made(indices[0])] if len(indices) == 1 else None

    async def made(self, indices: Sequence[int]) -> AsyncGenerator[Part, None]:
        """Yield frames one by one, making the next while one is sent; close it.

        Raises
        ------
        HilumError
            See `Retrieve.raw_frame`.
        """
        following: asyncio.Task[Part] | None = None
        try:
            for index, after in zip(indices, (*indices[1:], None), strict=True):
                part = await (following or self._made(index))
                following = None
                if after is not None:
                    following = asyncio.create_task(self._made(after))
                yield part
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    def _stored(self, indices: Sequence[int]) -> list[Part] | None:
        found = self._retrieve.stored_frames(self._instance, indices)
        if found is None:
            return None
        opened = partial(self._retrieve.open, self._instance)
        name = f"instance {self._instance.identity.sop_instance_uid}"
        return [
            self._part(index, tuple(FileRange(opened, *extent, name) for extent in extents))
            for index, extents in zip(indices, found, strict=True)
        ]

    async def _made(self, index: int) -> Part:
        target = self._form.transfer_syntax_uid
        if target in ENCODED:
            frame = await self._retrieve.compressed_frame(self._instance, index, target)
        else:
            frame = await self._retrieve.raw_frame(self._instance, index)
        return self._part(index, (frame,))

    def _part(self, index: int, pieces: tuple[bytes | FileRange, ...]) -> Part:
        return Part(content_type(self._form), pieces, f"{self._url}/frames/{index + 1}")
