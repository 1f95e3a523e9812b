"""Where the frames of encapsulated pixel data begin (PS3.5 A.4)."""

import itertools
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hilum.core.errors import NotDicom
from hilum.imaging.encoding import IMPLICIT_HEADER, ITEM, UNDEFINED
from hilum.imaging.reader import Reader

#: Four hours of video at 60 Hz, or the largest slide, stay below.
FRAGMENT_LIMIT: Final = 1 << 20

# What a code stream begins with: SOI of JPEG and JPEG-LS, SOC and SIZ of JPEG 2000.
_START_MARKERS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")


@dataclass(frozen=True, slots=True)
class Fragments:
    """The items of encapsulated pixel data."""

    offset_table: tuple[int, int]
    """Offset and length of the basic offset table's value."""
    starts: "array[int]"
    """Offset of each fragment's item header."""
    end: int
    """Offset behind the last fragment."""


def walk_fragments(reader: Reader, offset: int) -> Fragments:
    """Return the items from `offset` up to the sequence delimiter.

    A missing delimiter is accepted: what the items say is complete without it.

    Raises
    ------
    NotDicom
        The first item is missing, an item runs past the end of the file, or there are
        more than `FRAGMENT_LIMIT`.
    """
    size = reader.size
    starts = array("Q")
    offset_table: tuple[int, int] | None = None
    position = offset
    while len(header := reader.read_at(position, 8)) == 8:
        group, element, length = IMPLICIT_HEADER.unpack(header)
        tag = group << 16 | element
        if tag != ITEM or length == UNDEFINED:
            if offset_table is None:
                raise NotDicom("pixel data of undefined length without items")
            break
        following = position + 8 + length
        if following > size:
            raise NotDicom(f"the pixel data ends {following - size} bytes early")
        if offset_table is None:
            offset_table = (position + 8, length)
        else:
            starts.append(position)
            if len(starts) > FRAGMENT_LIMIT:
                raise NotDicom(f"more than {FRAGMENT_LIMIT} fragments of pixel data")
        position = following
    if offset_table is None:
        raise NotDicom("the pixel data is cut short before its first item")
    return Fragments(offset_table, starts, position)


def frame_offsets(
    reader: Reader,
    fragments: Fragments,
    declared_frames: int | None,
    extended_offset_table: tuple[int, int] | None = None,
) -> "array[int]":
    """Return where each frame begins, and where the last one ends.

    As many fragments as frames are a frame each, whatever the tables say. Otherwise the
    first of these that gives the declared number of frames, or any number if none is
    declared, is believed: the basic offset table, the extended one, the fragments that
    begin like a code stream. Where none does, as many frames are told as there are bytes
    for: a video stream, whose fragments are no frames, counts as one.

    Parameters
    ----------
    declared_frames
        Number of Frames (0028,0008); None where it is missing or says nothing.
    extended_offset_table
        Offset and length of the value of (7FE0,0001).
    """
    starts = fragments.starts
    frames = declared_frames or 1
    if len(starts) == frames or len(starts) < 2:
        return _closed(starts, fragments)
    if declared_frames == 1:
        return _closed(starts[:1], fragments)
    candidates = [
        _by_table(reader, fragments, fragments.offset_table, "I"),
        _by_table(reader, fragments, extended_offset_table, "Q"),
        _by_markers(reader, starts),
    ]
    for candidate in candidates:
        if candidate and (declared_frames is None or len(candidate) == frames):
            return _closed(candidate, fragments)
    if declared_frames is None:
        return _closed(starts[:1], fragments)
    if len(starts) % frames == 0:
        return _closed(starts[:: len(starts) // frames], fragments)
    return _closed(starts[:frames], fragments)


def _closed(starts: Sequence[int], fragments: Fragments) -> "array[int]":
    return array("Q", [*starts, fragments.end]) if starts else array("Q")


def _by_table(
    reader: Reader, fragments: Fragments, place: tuple[int, int] | None, code: str
) -> Sequence[int]:
    """Return the frame starts an offset table gives; nothing if it does not fit the items."""
    if place is None or not place[1]:
        return ()
    width = struct.calcsize(f"<{code}")
    if place[1] % width or place[1] // width > len(fragments.starts):
        return ()
    raw = reader.read_at(*place)
    first = fragments.starts[0]
    offsets = [first + offset for offset in struct.unpack(f"<{len(raw) // width}{code}", raw)]
    known = set(fragments.starts)
    rising = all(a < b for a, b in itertools.pairwise(offsets))
    return offsets if offsets[0] == first and rising and known.issuperset(offsets) else ()


def _by_markers(reader: Reader, starts: Sequence[int]) -> Sequence[int]:
    """Return the fragments that begin like a code stream, if the first one does."""
    begun = [start for start in starts if reader.read_at(start + 8, 4).startswith(_START_MARKERS)]
    return begun if begun[:1] == [starts[0]] else ()
