"""A Part 10 file with other elements around the same pixels, which are not read.

What is in front of the pixel data and behind it is made anew by pydicom; the pixel data is a
range of bytes of the file as it is stored.
"""

import io
import struct
from collections.abc import Callable
from typing import BinaryIO, Final

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from hilum.core.errors import Corrupt, Unsupported
from hilum.imaging.around import Rewritten
from hilum.imaging.careful_scan import PYDICOM_ERRORS
from hilum.imaging.charset import quietly
from hilum.imaging.extents import Extent

#: What is made anew is held in memory.
_LIMIT_BYTES: Final = 64 << 20
_PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_LONG_VRS: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"UN"})
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD


def rewrite(
    source: BinaryIO,
    transfer_syntax_uid: str,
    head_bytes: int,
    change: Callable[[Dataset], None],
) -> Rewritten:
    """Return a file with other elements.

    Parameters
    ----------
    source
        A Part 10 file, or a data set without File Meta Information, seekable.
    transfer_syntax_uid
        What it is stored in, which it does not say itself in the latter case.
    head_bytes
        Its size in front of the pixels, all of it without any.
    change
        Changes the data set, which has no pixel data. It is called once.

    Raises
    ------
    Unsupported
        It cannot be taken apart: it is deflated, or large around its pixels, or pydicom cannot
        read or write it.
    Corrupt
        Its pixel data does not end.

    Notes
    -----
    The File Meta Information is made anew too: who sent and wrote the file is no part of the new
    one. For a thread.
    """
    if head_bytes > _LIMIT_BYTES:
        raise Unsupported("the file is too large around its pixels to be changed")
    try:
        with quietly():
            return _rewrite(source, UID(transfer_syntax_uid), change)
    except PYDICOM_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of the disk, not of what lies on it
        raise Unsupported("the file cannot be written with other elements") from error


def _rewrite(source: BinaryIO, syntax: UID, change: Callable[[Dataset], None]) -> Rewritten:
    size = source.seek(0, 2)
    source.seek(0)
    data_set = pydicom.dcmread(source, stop_before_pixels=True, force=True)
    begin = source.tell()
    if syntax == DeflatedExplicitVRLittleEndian:
        raise Unsupported("a deflated file is not changed")
    end = begin if begin >= size else _end_of_pixels(source, begin, syntax, size)
    if size - end > _LIMIT_BYTES:
        raise Unsupported("the file is too large around its pixels to be changed")
    source.seek(end)
    behind = io.BytesIO(source.read())
    data_set.update(read_dataset(behind, syntax.is_implicit_VR, syntax.is_little_endian))
    change(data_set)
    last = Dataset()
    for tag in list(data_set.keys()):
        if tag > max(_PIXEL_TAGS):
            last[tag] = data_set[tag]
            del data_set[tag]
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.preamble = bytes(128)
    head = io.BytesIO()
    pydicom.dcmwrite(head, data_set, enforce_file_format=True)
    tail = DicomBytesIO()
    tail.is_implicit_VR, tail.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(tail, last, data_set.get("SpecificCharacterSet", "iso8859"))
    return Rewritten(head.getvalue(), Extent(begin, end - begin), tail.getvalue())


def _end_of_pixels(source: BinaryIO, begin: int, syntax: UID, size: int) -> int:
    """Return where the element of the pixels ends that begins at `begin`."""
    order = "<" if syntax.is_little_endian else ">"
    source.seek(begin)
    head = source.read(12)
    group, element = struct.unpack_from(f"{order}HH", head)
    if group << 16 | element not in _PIXEL_TAGS:
        raise Corrupt("the file does not go on with its pixels")
    start, place, form = begin + 8, 6, "H"
    if syntax.is_implicit_VR:
        place, form = 4, "I"
    elif head[4:6] in _LONG_VRS:
        start, place, form = begin + 12, 8, "I"
    length: int = struct.unpack_from(order + form, head, place)[0]
    if length != _UNDEFINED:
        if start + length > size:
            raise Corrupt("the pixel data is cut short")
        return start + length
    while True:
        source.seek(start)
        item = source.read(8)
        if len(item) < 8:
            raise Corrupt("the pixel data does not end")
        group, element, length = struct.unpack(f"{order}HHI", item)
        start += 8
        if group << 16 | element == _DELIMITER:
            return start
        if group << 16 | element != _ITEM or length == _UNDEFINED:
            raise Corrupt("the pixel data is no sequence of fragments")
        start += length
