"""Whole files with their frames compressed without loss, for clients that ask for it."""

import struct
from pathlib import Path
from typing import BinaryIO, Final

from hilum.core.errors import NoPixelData, NotFound, Unsupported
from hilum.core.instance import PixelData
from hilum.imaging.decode import decode_frame, decoded_photometric_interpretation
from hilum.imaging.description import describe
from hilum.imaging.elements import Encoding
from hilum.imaging.encode import can_encode, encode_frame, encoded_photometric
from hilum.imaging.encoding import EXPLICIT_VR_BIG_ENDIAN, LENGTH_BYTES, UNDEFINED
from hilum.imaging.frames import read_frame, read_head
from hilum.imaging.header import read_header
from hilum.imaging.part10 import file_meta
from hilum.imaging.reader import open_reader
from hilum.imaging.recode import Recoder
from hilum.imaging.scan import PIXEL_DATA
from hilum.imaging.transcode import SEQUENCE_END_ITEM, pixel_changes

_ITEM: Final = struct.Struct("<HHI")
_ITEM_TAG: Final = (0xFFFE, 0xE000)


def compress(source: BinaryIO, source_uid: str, target_uid: str, out: BinaryIO) -> None:
    """Write a file with its frames compressed, a fragment each, and no offset table.

    Parameters
    ----------
    source
        A Part 10 file, seekable; compressed or not.
    source_uid
        The transfer syntax it is stored in.
    target_uid
        One of `hilum.imaging.encode.ENCODED`.
    out
        Takes a Part 10 file; seekable, written from where it stands.

    Raises
    ------
    Unsupported
        `can_encode` says no, or the pixels are of a kind that has no place in the target.
    NoPixelData
        There is nothing to compress.
    Corrupt
        The source cannot be read or decoded to its end. What was written is of no use.

    Notes
    -----
    One frame is in memory at a time. Runs codecs, which may crash on hostile frames, in the
    calling process.

    References
    ----------
    PS3.5 A.4
    """
    if not can_encode(source_uid, target_uid):
        raise Unsupported(f"no way from transfer syntax {source_uid} to {target_uid}")
    header = read_header(source)
    pixel_data = header.pixel_data
    if pixel_data is None:
        raise NoPixelData("there are no frames to compress")
    reader = open_reader(source, source_uid, header.data_set_offset)
    encoding = Encoding(
        # Some files lie about VRs; what they look like counts (as in `read_header`).
        explicit=reader.read_at(header.data_set_offset + 4, 2) in LENGTH_BYTES,
        little_endian=source_uid != EXPLICIT_VR_BIG_ENDIAN,
    )
    head = read_head(reader, header.data_set_offset, pixel_data)
    description = describe(head, source_uid)
    frame = read_frame(reader, pixel_data, 0, description.frame_bits)
    photometric = decoded_photometric_interpretation(description, frame, source_uid)

    out.write(file_meta(header.sop_class_uid, header.identity.sop_instance_uid, target_uid))
    recoder = Recoder(reader, out, encoding, explicit=True)
    written = encoded_photometric(photometric, target_uid)
    changes = pixel_changes(head, encoding, header, description, written)
    recoder.elements(header.data_set_offset, changes)
    recoder.write_header(PIXEL_DATA, "OB", UNDEFINED)
    recoder.write(_ITEM.pack(*_ITEM_TAG, 0))
    for index in range(pixel_data.frame_count):
        frame = read_frame(reader, pixel_data, index, description.frame_bits)
        samples = decode_frame(description, frame, source_uid)
        stream = encode_frame(description, samples, photometric, target_uid)
        recoder.write(_ITEM.pack(*_ITEM_TAG, len(stream)) + stream)
    recoder.write(SEQUENCE_END_ITEM)
    following = pixel_data.offset + pixel_data.length
    if not pixel_data.frame_offsets:
        recoder.rest(following)
    elif reader.read_at(following, 8) == SEQUENCE_END_ITEM:
        recoder.rest(following + 8)


def compress_file(source: Path, source_uid: str, target_uid: str, target: Path) -> None:
    """`compress` from path to path; what a helper process is asked to do."""
    with source.open("rb") as file, target.open("xb") as out:
        compress(file, source_uid, target_uid, out)


def compress_frame(
    path: Path,
    pixel_data: PixelData,
    source_uid: str,
    data_set_offset: int,
    frame_index: int,
    target_uid: str,
) -> bytes:
    """Return one frame of a file compressed without loss.

    Parameters
    ----------
    path
        A Part 10 file.
    pixel_data, source_uid, data_set_offset
        From the file's `Header`.
    frame_index
        From 0.
    target_uid
        One of `hilum.imaging.encode.ENCODED`.

    Raises
    ------
    NotFound
        There is no such file or no such frame.
    Invalid, Unsupported
        The header does not describe an image, or one that has no place in the target.
    Corrupt
        The frame is damaged.

    Notes
    -----
    Runs codecs, as `compress`.
    """
    try:
        with path.open("rb") as file:
            reader = open_reader(file, source_uid, data_set_offset)
            description = describe(read_head(reader, data_set_offset, pixel_data), source_uid)
            frame = read_frame(reader, pixel_data, frame_index, description.frame_bits)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path.name}") from error
    samples = decode_frame(description, frame, source_uid)
    photometric = decoded_photometric_interpretation(description, frame, source_uid)
    return encode_frame(description, samples, photometric, target_uid)
