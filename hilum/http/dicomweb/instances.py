"""Instances as parts of an answer: as they are stored, or rewritten for it."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

import structlog

from hilum.core.errors import Corrupt, Unsupported
from hilum.http.dicomweb.media_types import DICOM, Form, Range, choose, content_type
from hilum.http.dicomweb.related import Part
from hilum.http.dicomweb.sending import FileRange, Piece
from hilum.imaging.encode import ENCODED, can_encode
from hilum.imaging.encoding import EXPLICIT_VR_LITTLE_ENDIAN
from hilum.imaging.part10 import file_meta
from hilum.imaging.transcode import TARGETS, can_transcode
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

log = structlog.get_logger(__name__)

#: Instances that are rewritten while an earlier one is sent.
_AHEAD: Final = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """An instance, and the form in which it is to be sent."""

    instance: StoredInstance
    form: Form
    or_stored: bool = False
    """Whether it may be sent as it is stored if it cannot be rewritten."""

    @property
    def as_stored(self) -> bool:
        """Whether nothing needs to be rewritten."""
        return self.form.transfer_syntax_uid == self.instance.transfer_syntax_uid


def forms(transfer_syntax_uid: str, *, single: bool, has_frames: bool = True) -> list[Form]:
    """Return the forms that an instance can be had in, as it is stored first.

    Parameters
    ----------
    single
        Whether it is all there is, so that it can be had without a multipart around it.
    has_frames
        Whether it is an image, so that there is something to compress.

    Notes
    -----
    Who names no transfer syntax means Explicit VR Little Endian, but for what cannot be
    had in it, such as video, where it is the stored one (PS3.18 8.7.3.5).
    """
    targets = [uid for uid in TARGETS if can_transcode(transfer_syntax_uid, uid)]
    if has_frames:
        targets += [uid for uid in ENCODED if can_encode(transfer_syntax_uid, uid)]
    usual = EXPLICIT_VR_LITTLE_ENDIAN if EXPLICIT_VR_LITTLE_ENDIAN in targets else None
    usual = usual or transfer_syntax_uid
    return [
        Form(DICOM, uid, multipart, default=uid == usual)
        for multipart in (True, False)[: 1 + single]
        for uid in dict.fromkeys((transfer_syntax_uid, *targets))
    ]


def choose_forms(
    accepts: Sequence[Sequence[Range]], instances: Sequence[StoredInstance]
) -> Iterator[Choice]:
    """Yield the instances that can be had in a form the client takes."""
    chosen: dict[tuple[str, bool], tuple[Form | None, bool]] = {}
    for instance in instances:
        stored, has_frames = instance.transfer_syntax_uid, instance.number_of_frames > 0
        kind = stored, has_frames
        if kind not in chosen:
            offered = forms(stored, single=len(instances) == 1, has_frames=has_frames)
            form = choose(accepts, offered)
            as_stored = form and choose(accepts, [Form(DICOM, stored, form.multipart)])
            chosen[kind] = form, as_stored is not None
        form, or_stored = chosen[kind]
        if form is not None:
            yield Choice(instance, form, or_stored)


def stored_part(retrieve: Retrieve, instance: StoredInstance, location: str) -> Part:
    """Return an instance as it is stored; what arrived bare gets file meta information."""
    identity = instance.identity
    pieces: list[Piece] = []
    if instance.data_set_offset == 0:
        syntax = instance.transfer_syntax_uid
        pieces.append(file_meta(instance.sop_class_uid, identity.sop_instance_uid, syntax))
    file = FileRange(
        partial(retrieve.open, instance),
        0,
        instance.blob.size_bytes,
        f"instance {identity.sop_instance_uid}",
    )
    form = Form(DICOM, instance.transfer_syntax_uid)
    return Part(content_type(form), (*pieces, file), location)


async def rewritten_part(
    retrieve: Retrieve, choice: Choice, location: str
) -> tuple[Part, BinaryIO | None]:
    """Return an instance in another transfer syntax, and the file to close when it is sent.

    Raises
    ------
    Unsupported, Corrupt
        It cannot be rewritten, and the client does not take it as it is stored.
    """
    instance, form = choice.instance, choice.form
    uid = instance.identity.sop_instance_uid
    if choice.as_stored:
        return stored_part(retrieve, instance, location), None
    target = form.transfer_syntax_uid
    try:
        around = await asyncio.to_thread(retrieve.rewritten_around, instance, target)
        if around is not None:
            opened = partial(retrieve.open, instance)
            pixels = FileRange(opened, *around.pixels, f"instance {uid}")
            return Part(content_type(form), (around.head, pixels, around.tail), location), None
        file = await retrieve.rewritten(instance, target)
    except (Unsupported, Corrupt) as error:
        if choice.or_stored:
            # Better as it is, which each part says of itself, than not at all.
            log.info("sent as stored", sop_instance_uid=uid, reason=str(error))
            return stored_part(retrieve, instance, location), None
        raise type(error)(f"instance {uid}: {error}") from error
    size = os.fstat(file.fileno()).st_size
    pieces = (FileRange(lambda: file, 0, size, f"instance {uid}, rewritten"),)
    return Part(content_type(form), pieces, location), file


async def rewritten_parts(
    retrieve: Retrieve, choices: Iterable[Choice], base: str
) -> AsyncGenerator[Part, None]:
    """Yield instances as parts, rewriting the next ones while one is sent; close it.

    Raises
    ------
    Unsupported, Corrupt
        See `rewritten_part`.
    """
    ahead: deque[asyncio.Task[tuple[Part, BinaryIO | None]]] = deque()
    remaining = iter(choices)
    try:
        while True:
            while len(ahead) <= _AHEAD and (choice := next(remaining, None)):
                location = url_of(choice.instance, base)
                ahead.append(asyncio.create_task(rewritten_part(retrieve, choice, location)))
            if not ahead:
                return
            part, file = await ahead[0]
            ahead.popleft()
            try:
                yield part
            finally:
                if file is not None:
                    file.close()
    finally:
        for task in ahead:
            task.cancel()
        for outcome in await asyncio.gather(*ahead, return_exceptions=True):
            if not isinstance(outcome, BaseException) and outcome[1] is not None:
                outcome[1].close()


def url_of(instance: StoredInstance, base: str) -> str:
    """Return the Retrieve URL of an instance; `base` is that of the service."""
    identity = instance.identity
    return (
        f"{base}/studies/{identity.study_instance_uid}/series/{identity.series_instance_uid}"
        f"/instances/{identity.sop_instance_uid}"
    )
