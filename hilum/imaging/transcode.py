"""Whole files from the transfer syntax they are stored in to one that a peer accepts.

The targets are the two that every DICOM application takes: Implicit and Explicit VR
Little Endian. The SOP Instance UID stays: the instance is the same, written another way,
and a lossy frame decoded is not lossier than it was (PS3.4 B.4.1.2).
"""

import struct
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from hilum.core.errors import Corrupt, Unsupported
from hilum.core.instance import Attributes, Header, PixelData
from hilum.core.levels import json_tag, tag_of
from hilum.imaging.decode import (
    DECODABLE,
    NATIVE,
    Samples,
    decode_frame,
    decoded_photometric_interpretation,
)
from hilum.imaging.description import ImageDescription, describe
from hilum.imaging.dicom_json import WORD_BYTES
from hilum.imaging.elements import Encoding, read_elements
from hilum.imaging.encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LENGTH_BYTES,
)
from hilum.imaging.frames import read_frame, read_head
from hilum.imaging.header import read_header
from hilum.imaging.part10 import file_meta
from hilum.imaging.reader import Reader, open_reader
from hilum.imaging.recode import Element, Recoder
from hilum.imaging.scan import PIXEL_DATA

#: What files can be written in.
TARGETS: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_EXTENDED_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)
# The transfer syntaxes that cannot be lossless, and their defined terms (PS3.3 C.7.6.1.1.5.1).
_LOSSY_METHODS: Final = {
    "1.2.840.10008.1.2.4.50": b"ISO_10918_1",
    "1.2.840.10008.1.2.4.51": b"ISO_10918_1",
    "1.2.840.10008.1.2.4.81": b"ISO_14495_1",
}
_FLOAT_VRS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD"}
_LENGTH_LIMIT: Final = 0xFFFFFFFE
#: What ends encapsulated pixel data.
SEQUENCE_END_ITEM: Final = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def can_transcode(source_uid: str, target_uid: str) -> bool:
    """Return whether `transcode` may write what is stored in one syntax in the other.

    It may still fail for a single instance: its frames may be damaged or of an odd kind.
    """
    return source_uid in DECODABLE and target_uid in TARGETS


def transcode(source: BinaryIO, source_uid: str, target_uid: str, out: BinaryIO) -> None:
    """Write a file in another transfer syntax.

    Every element keeps its value, except those that say how the pixels are written: of
    compressed ones the Photometric Interpretation, Planar Configuration, Bits Allocated
    and Number of Frames become what the decoder delivers, and Lossy Image Compression is
    added where it was forgotten. Native pixel data passes in chunks, compressed frames
    one by one: memory does not grow with the file.

    Parameters
    ----------
    source
        A Part 10 file, seekable.
    source_uid
        The transfer syntax it is stored in.
    target_uid
        Implicit or Explicit VR Little Endian.
    out
        Takes a Part 10 file; seekable, written from where it stands.

    Raises
    ------
    Unsupported
        `can_transcode` says no, or the pixels are of a kind this node does not decode.
    Corrupt
        The source cannot be read or decoded to its end. What was written is of no use.

    Notes
    -----
    Runs codecs, which may crash on hostile compressed frames, in the calling process.

    References
    ----------
    PS3.5 8.2, A.1 to A.4; PS3.3 C.7.6.3
    """
    if not can_transcode(source_uid, target_uid):
        raise Unsupported(f"no way from transfer syntax {source_uid} to {target_uid}")
    header = read_header(source)
    reader = open_reader(source, source_uid, header.data_set_offset)
    out.write(file_meta(header.sop_class_uid, header.identity.sop_instance_uid, target_uid))
    encoding = Encoding(
        # Some files lie about VRs; what they look like counts (as in `read_header`).
        explicit=reader.read_at(header.data_set_offset + 4, 2) in LENGTH_BYTES,
        little_endian=source_uid != EXPLICIT_VR_BIG_ENDIAN,
    )
    recoder = Recoder(reader, out, encoding, explicit=target_uid == EXPLICIT_VR_LITTLE_ENDIAN)
    if header.pixel_data is None:
        recoder.elements(header.data_set_offset, {})
    elif source_uid in NATIVE:
        _native(recoder, header, header.pixel_data, encoding)
    else:
        _compressed(recoder, reader, header, header.pixel_data, encoding)


def transcode_file(source: Path, source_uid: str, target_uid: str, target: Path) -> None:
    """`transcode` from path to path; what a helper process is asked to do."""
    with source.open("rb") as file, target.open("xb") as out:
        transcode(file, source_uid, target_uid, out)


def _native(recoder: Recoder, header: Header, pixel_data: PixelData, encoding: Encoding) -> None:
    """Write a data set whose pixels stay as they are, but for the order of their bytes."""
    if pixel_data.frame_offsets:
        raise Unsupported("encapsulated pixel data in a native transfer syntax")
    pixels = recoder.elements(header.data_set_offset, {})
    assert pixels is not None
    bits_allocated = _first(header.attributes, "BitsAllocated", 8)
    vr = native_vr(header, pixels)
    word_bytes = 1
    if not encoding.little_endian:
        # A pixel's bytes turn round together, whatever the VR says of words.
        word_bytes = bits_allocated // 8 if bits_allocated > 8 else WORD_BYTES.get(vr, 1)
        if word_bytes not in {1, 2, 4, 8}:
            raise Unsupported(f"big-endian pixels of {bits_allocated} bits")
    recoder.write_header(pixels.tag, vr, pixel_data.length + pixel_data.length % 2)
    recoder.copy(pixel_data.offset, pixel_data.length, word_bytes)
    recoder.write(bytes(pixel_data.length % 2))
    recoder.rest(pixel_data.offset + pixel_data.length)


def native_vr(header: Header, pixels: Element) -> str:
    """Return the VR that native pixel data has in an explicit encoding (PS3.5 8.2, A.2)."""
    if pixels.tag in _FLOAT_VRS:
        return _FLOAT_VRS[pixels.tag]
    if _first(header.attributes, "BitsAllocated", 8) > 8:
        return "OW"  # OB is for up to 8 bits
    return pixels.vr or "OW"


def _compressed(
    recoder: Recoder, reader: Reader, header: Header, pixel_data: PixelData, encoding: Encoding
) -> None:
    """Write a data set with its frames decoded."""
    source_uid = header.transfer_syntax_uid
    if not pixel_data.frame_offsets:
        raise Corrupt("compressed pixel data is not encapsulated")
    head = read_head(reader, header.data_set_offset, pixel_data)
    description = describe(head, source_uid)
    frame = read_frame(reader, pixel_data, 0)
    photometric = decoded_photometric_interpretation(description, frame, source_uid)
    bits = description.bits_allocated
    pixels = description.rows * description.columns * description.samples_per_pixel
    length = (pixels * bits * pixel_data.frame_count + 7) // 8
    if length + length % 2 > _LENGTH_LIMIT:
        raise Unsupported(f"{length} bytes of decoded pixels do not fit into one element")

    changes = pixel_changes(head, encoding, header, description, photometric)
    recoder.elements(header.data_set_offset, changes)
    recoder.write_header(PIXEL_DATA, "OW" if bits > 8 else "OB", length + length % 2)
    packer = _BitPacker()
    for index in range(pixel_data.frame_count):
        frame = read_frame(reader, pixel_data, index)
        samples = decode_frame(description, frame, source_uid)
        recoder.write(packer.packed(samples) if bits == 1 else _bytes(samples))
    recoder.write(packer.rest())
    recoder.write(bytes(length % 2))
    following = pixel_data.offset + pixel_data.length
    if reader.read_at(following, 8) == SEQUENCE_END_ITEM:
        recoder.rest(following + 8)


def pixel_changes(
    head: bytes,
    encoding: Encoding,
    header: Header,
    description: ImageDescription,
    photometric: str,
) -> dict[int, bytes | None]:
    """Return what a data set says of its pixels when they have been decoded.

    Parameters
    ----------
    head
        The bytes that `description` was made of, in `encoding`.
    photometric
        The Photometric Interpretation they have now.

    Returns
    -------
    dict
        By tag, in little endian, for `Recoder.elements`.
    """
    assert header.pixel_data is not None
    changes: dict[int, bytes | None] = {
        **dict.fromkeys(_EXTENDED_OFFSET_TABLES),
        **_lossy(head, encoding, description, header.transfer_syntax_uid),
        **_frame_count(header.attributes, header.pixel_data),
        tag_of("PhotometricInterpretation"): photometric.encode(),
    }
    if description.samples_per_pixel > 1:
        changes[tag_of("PlanarConfiguration")] = b"\0\0"
    return changes


def _bytes(samples: Samples) -> bytes:
    """Return samples as they lie in a little-endian file."""
    return samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()


class _BitPacker:
    """Packs 1-bit samples, whose frames need not end with a byte (PS3.5 8.1.1)."""

    def __init__(self) -> None:
        self._open = np.empty(0, np.uint8)

    def packed(self, samples: Samples) -> bytes:
        """Return the bytes that are complete with these samples."""
        bits = np.concatenate([self._open, samples.reshape(-1).astype(np.uint8)])
        whole = len(bits) // 8 * 8
        self._open = bits[whole:]
        return np.packbits(bits[:whole], bitorder="little").tobytes()

    def rest(self) -> bytes:
        """Return the last byte, if one is open."""
        return np.packbits(self._open, bitorder="little").tobytes()


def _frame_count(attributes: Attributes, pixel_data: PixelData) -> dict[int, bytes | None]:
    """Return Number of Frames, if it is not the number of those that are written."""
    if _first(attributes, "NumberOfFrames", 1) == pixel_data.frame_count:
        return {}
    return {tag_of("NumberOfFrames"): str(pixel_data.frame_count).encode()}


def _lossy(
    head: bytes, encoding: Encoding, description: ImageDescription, source_uid: str
) -> dict[int, bytes | None]:
    """Return what says that pixels were compressed with loss, if it is not said."""
    method = _LOSSY_METHODS.get(source_uid)
    if description.photometric_interpretation == "YBR_ICT":
        method = b"ISO_15444_1"
    lossy = tag_of("LossyImageCompression")
    if method is None or read_elements(head, encoding, {lossy}).text(lossy) == "01":
        return {}
    return {lossy: b"01", tag_of("LossyImageCompressionMethod"): method}


def _first(attributes: Attributes, keyword: str, default: int) -> int:
    """Return the first value of a numeric attribute."""
    value = attributes.get(json_tag(keyword), {}).get("Value", [default])[0]
    return value if isinstance(value, int) else default
