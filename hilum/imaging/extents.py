"""Where the bytes of a frame lie in its file, without the headers of the items they are in.

What is sent as it is stored need not be read: the kernel takes it from the file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hilum.core.errors import Corrupt, NotFound
from hilum.core.instance import PixelData
from hilum.imaging.decode import NATIVE
from hilum.imaging.encoding import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_HEADER, ITEM
from hilum.imaging.frames import frame_range
from hilum.imaging.raw_frame import native_layout
from hilum.imaging.reader import DEFLATED, Reader, open_reader

_ITEM_HEADER_BYTES: Final = 8


class Extent(NamedTuple):
    """Consecutive bytes of a file."""

    offset: int
    length: int


def stored_extents(
    path: Path,
    pixel_data: PixelData,
    transfer_syntax_uid: str,
    data_set_offset: int,
    frame_indices: Sequence[int],
) -> list[tuple[Extent, ...]] | None:
    """Return where frames of a file lie, each in one extent or several.

    Parameters
    ----------
    path
        A Part 10 file that never changes, as those of the store.
    frame_indices
        From 0.

    Returns
    -------
    list or None
        None if the file has them in another form than they are to be sent in: deflated,
        big endian, or 1-bit pixels of which a frame begins within a byte.

    Raises
    ------
    NotFound
        There is no such file or no such frame.
    Invalid, Corrupt
        The file does not say where its frames are, or is damaged.
    """
    if transfer_syntax_uid in DEFLATED or transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN:
        return None
    try:
        if transfer_syntax_uid in NATIVE:
            layout = native_layout(path, pixel_data, transfer_syntax_uid, data_set_offset)
            if layout.frame_bits % 8:
                return None
            places = [frame_range(pixel_data, each, layout.frame_bits) for each in frame_indices]
            return [(Extent(place.offset, place.length),) for place in places]
        with path.open("rb", buffering=0) as file:
            reader = open_reader(file)
            return [encapsulated_extents(reader, pixel_data, each) for each in frame_indices]
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path.name}") from error


def encapsulated_extents(
    reader: Reader, pixel_data: PixelData, frame_index: int
) -> tuple[Extent, ...]:
    """Return where an encapsulated frame lies, a fragment each (PS3.5 A.4).

    Parameters
    ----------
    reader
        From `hilum.imaging.reader.open_reader`; 8 bytes are read of each item.
    frame_index
        From 0.

    Raises
    ------
    NotFound
        There is no such frame.
    Corrupt
        The items are not where they were.
    """
    place = frame_range(pixel_data, frame_index)
    position, end = place.offset, place.offset + place.length
    extents = []
    while position < end:
        header = reader.read_at(position, _ITEM_HEADER_BYTES)
        if len(header) < _ITEM_HEADER_BYTES:
            raise Corrupt(f"frame {frame_index + 1} lies behind the end of its file")
        group, element, length = IMPLICIT_HEADER.unpack(header)
        position += _ITEM_HEADER_BYTES
        if group << 16 | element != ITEM or position + length > end:
            raise Corrupt("the pixel data's items are damaged")
        extents.append(Extent(position, length))
        position += length
    return tuple(extents)
