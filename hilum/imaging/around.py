"""Files rewritten around their pixels: native ones are the same in either Little Endian.

Of a slice of half a megabyte only some kilobytes in front of the pixels have to be made
anew, and no codec has to look at them.
"""

from io import BytesIO
from typing import BinaryIO, Final, NamedTuple

from hilum.imaging.elements import Encoding
from hilum.imaging.encoding import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LENGTH_BYTES,
)
from hilum.imaging.extents import Extent
from hilum.imaging.header import read_header
from hilum.imaging.part10 import file_meta
from hilum.imaging.reader import open_reader
from hilum.imaging.recode import Recoder
from hilum.imaging.transcode import native_vr

_LITTLE_ENDIAN: Final = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN})
#: What is made anew is held in memory: more than so much is better left to a file.
_LIMIT_BYTES: Final = 4 << 20


class Rewritten(NamedTuple):
    """A file in another transfer syntax, most of which is there already."""

    head: bytes
    pixels: Extent
    """In the file as it is stored."""
    tail: bytes


def rewrite_around(source: BinaryIO, source_uid: str, target_uid: str) -> Rewritten | None:
    """Return what `hilum.imaging.transcode.transcode` would write, without its pixels.

    Parameters
    ----------
    source
        A Part 10 file, seekable.
    source_uid, target_uid
        The transfer syntax it is stored in, and the one that is asked for.

    Returns
    -------
    Rewritten or None
        None if its pixels cannot stay as they are or are cut short, or something else of it
        is large.

    Raises
    ------
    Corrupt, NotDicom
        The source cannot be read to its end.
    """
    if source_uid not in _LITTLE_ENDIAN or target_uid not in _LITTLE_ENDIAN:
        return None
    header = read_header(source)
    pixel_data = header.pixel_data
    if pixel_data is None or pixel_data.frame_offsets:
        return None
    reader = open_reader(source)
    following = pixel_data.offset + pixel_data.length
    behind = reader.size - following
    if behind < 0 or pixel_data.offset + behind > _LIMIT_BYTES:
        return None
    encoding = Encoding(
        # Some files lie about VRs; what they look like counts (as in `read_header`).
        explicit=reader.read_at(header.data_set_offset + 4, 2) in LENGTH_BYTES,
        little_endian=True,
    )
    out = BytesIO()
    out.write(file_meta(header.sop_class_uid, header.identity.sop_instance_uid, target_uid))
    recoder = Recoder(reader, out, encoding, explicit=target_uid == EXPLICIT_VR_LITTLE_ENDIAN)
    pixels = recoder.elements(header.data_set_offset, {})
    assert pixels is not None
    padding = pixel_data.length % 2
    recoder.write_header(pixels.tag, native_vr(header, pixels), pixel_data.length + padding)
    size = out.tell()
    recoder.write(bytes(padding))
    recoder.rest(following)
    written = out.getvalue()[: out.tell()]
    return Rewritten(written[:size], Extent(pixel_data.offset, pixel_data.length), written[size:])
