"""Contents: what is written in stored instances, element by element.

Read from the files and never kept: a header is some kilobytes, and a file never changes.
"""

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from hilum.core.errors import Corrupt, NotDicom, NotFound
from hilum.imaging.description import encoding_of
from hilum.imaging.element_names import vr_of
from hilum.imaging.elements import Elements, read_elements
from hilum.imaging.frame_table import walk_fragments
from hilum.imaging.part10 import file_meta, without_preamble
from hilum.imaging.reader import open_reader
from hilum.imaging.scan import PIXEL_DATA_TAGS
from hilum.imaging.tag_json import Form, data_set_tags, meta_tags
from hilum.index.stored import StoredInstance
from hilum.storage.store import Store

#: Of a data set, read at once. What lies behind is bulk data and little else.
_DATA_SET_LIMIT_BYTES: Final = 32 << 20
_TAIL_LIMIT_BYTES: Final = 1 << 20
_SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One item of encapsulated pixel data, or all of native."""

    offset: int
    size_bytes: int


class Contents:
    """Reads data sets. Runs on the loop, works in threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tags(
        self,
        instance: StoredInstance,
        form: Form = "full",
        ignore_length: AbstractSet[int] = frozenset(),
    ) -> dict[str, Any]:
        """Return the elements up to the pixel data (`hilum.imaging.tag_json`).

        Raises
        ------
        NotFound
            The file is gone.
        Corrupt
            It is damaged.
        Unsupported
            It has more elements than anybody reads.
        """
        return await asyncio.to_thread(self._tags, instance, form, ignore_length)

    def _tags(
        self, instance: StoredInstance, form: Form, ignore_length: AbstractSet[int]
    ) -> dict[str, Any]:
        head = self._data_set(instance)
        return data_set_tags(head, instance.transfer_syntax_uid, form, ignore_length)

    async def meta(self, instance: StoredInstance, form: Form = "full") -> dict[str, Any]:
        """Return the elements of the File Meta Information.

        Raises
        ------
        NotFound
            The file is gone.
        """
        return await asyncio.to_thread(self._meta, instance, form)

    def _meta(self, instance: StoredInstance, form: Form) -> dict[str, Any]:
        if instance.data_set_offset == 0:
            # Arrived without: what it would be sent with.
            uid = instance.identity.sop_instance_uid
            head = file_meta(instance.sop_class_uid, uid, instance.transfer_syntax_uid)
        else:
            with self._store.open(instance.blob.digest) as file:
                head = open_reader(file).read_at(0, instance.data_set_offset)
        return meta_tags(without_preamble(head), form)

    async def below(self, instance: StoredInstance, path: tuple[int, ...]) -> list[str] | None:
        """Return the names of what is right below a path, as Orthanc's paths have them.

        Parameters
        ----------
        path
            Tags, and items from 0 between them; none for the data set.

        Returns
        -------
        list of str or None
            Tags of a data set or an item; numbers of a sequence's items or of the fragments
            of pixel data. None: the path names a value.

        Raises
        ------
        NotFound
            There is nothing at the path, or the file is gone.
        Corrupt
            It is damaged.
        """
        return await asyncio.to_thread(self._below, instance, path)

    def _below(self, instance: StoredInstance, path: tuple[int, ...]) -> list[str] | None:
        if len(path) == 1 and path[0] in PIXEL_DATA_TAGS and instance.pixel_data is not None:
            return _numbers(len(self._fragments(instance)))
        elements = self._elements(instance)
        if not path:
            return [_dashed(tag) for tag, _ in (*elements, *self._behind_pixels(instance))]
        for place in range(0, len(path) - 1, 2):
            elements = _item(elements, path[place], path[place + 1])
        if len(path) % 2 == 0:
            return [_dashed(tag) for tag, _ in elements]
        found = elements.get(path[-1])
        if found is None:
            raise NotFound("the instance has no such element")
        is_sequence = found.is_sequence or (found.vr or vr_of(path[-1])) == "SQ"
        return _numbers(sum(1 for _ in elements.each_item(path[-1]))) if is_sequence else None

    async def fragments(self, instance: StoredInstance) -> list[Fragment]:
        """Return where the items of encapsulated pixel data lie, the offset table first.

        Native pixel data is one.

        Raises
        ------
        NotFound
            The instance has none, or the file is gone.
        Corrupt
            It is damaged.
        """
        return await asyncio.to_thread(self._fragments, instance)

    def _fragments(self, instance: StoredInstance) -> list[Fragment]:
        pixels = instance.pixel_data
        if pixels is None:
            raise NotFound("the instance has no pixel data")
        if not pixels.frame_offsets:
            return [Fragment(pixels.offset, pixels.length)]
        syntax, offset = instance.transfer_syntax_uid, instance.data_set_offset
        with self._store.open(instance.blob.digest) as file:
            try:
                walked = walk_fragments(open_reader(file, syntax, offset), pixels.offset)
            except NotDicom as error:
                raise Corrupt(f"instance {instance.identity.sop_instance_uid}: {error}") from error
        ends = [*walked.starts[1:], walked.end]
        return [
            Fragment(*walked.offset_table),
            *(
                Fragment(start + 8, end - start - 8)
                for start, end in zip(walked.starts, ends, strict=False)
            ),
        ]

    def _elements(self, instance: StoredInstance) -> Elements:
        view = memoryview(self._data_set(instance))
        return read_elements(view, encoding_of(view, instance.transfer_syntax_uid))

    def _behind_pixels(self, instance: StoredInstance) -> Elements:
        """Return what lies behind the pixel data: padding, mostly, and signatures."""
        pixels, syntax = instance.pixel_data, instance.transfer_syntax_uid
        if pixels is None:
            return Elements({})
        with self._store.open(instance.blob.digest) as file:
            reader = open_reader(file, syntax, instance.data_set_offset)
            tail = reader.read_at(pixels.offset + pixels.length, _TAIL_LIMIT_BYTES)
        view = memoryview(tail.removeprefix(_SEQUENCE_END) if pixels.frame_offsets else tail)
        return read_elements(view, encoding_of(view, syntax))

    def _data_set(self, instance: StoredInstance) -> bytes:
        """Return the data set in front of the pixels, or as much as may be in memory."""
        syntax, offset = instance.transfer_syntax_uid, instance.data_set_offset
        with self._store.open(instance.blob.digest) as file:
            reader = open_reader(file, syntax, offset)
            size = _DATA_SET_LIMIT_BYTES
            if instance.pixel_data is not None:
                size = min(size, instance.pixel_data.offset - offset)
            return reader.read_at(offset, size)


def _dashed(tag: int) -> str:
    return f"{tag >> 16:04x}-{tag & 0xFFFF:04x}"


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _item(elements: Elements, tag: int, number: int) -> Elements:
    item = next(islice(elements.each_item(tag), number, None), None)
    if item is None:
        raise NotFound("the instance has no such item")
    return item
