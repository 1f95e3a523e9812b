"""The header of a file: who the instance is, the index's attributes, where its pixels are.

Only what lies in front of the pixel data is read, and the headers of its items. The fast
scanner does it; what it does not take for granted goes to pydicom (`careful_scan`).
"""

import struct
from functools import lru_cache
from typing import Any, BinaryIO, Final

from pydicom.datadict import dictionary_VR

from hilum.core.errors import Corrupt, Invalid, NotDicom
from hilum.core.identifiers import parse_uid
from hilum.core.instance import Attributes, Header, Identity, PixelData
from hilum.core.levels import INDEX_TAGS, json_tag
from hilum.core.main_tags import LONGEST_BYTES, MAIN_TAGS
from hilum.imaging.careful_scan import careful_scan
from hilum.imaging.charset import DEFAULT_CODECS, codecs_for, decode
from hilum.imaging.dicom_json import NUMBER_VRS, STRING_VRS, element, sequence, text
from hilum.imaging.encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LENGTH_BYTES,
    UNDEFINED,
    UNKNOWN_VRS,
    Unusual,
)
from hilum.imaging.frame_table import frame_offsets, walk_fragments
from hilum.imaging.frames import frame_size_bits
from hilum.imaging.part10 import FileMeta, read_file_meta
from hilum.imaging.reader import DEFLATED, FileReader, Reader, inflated
from hilum.imaging.scan import (
    EXTENDED_OFFSET_TABLE,
    SPECIFIC_CHARACTER_SET,
    PixelElement,
    RawValue,
    Scanned,
    scan,
)

# Two windows of the scanner: more than nearly every header has in front of its pixels.
_HEAD_BYTES: Final = 32 << 10
_PATIENT_ID: Final = 0x00100020
_WANTED: Final = INDEX_TAGS | {SPECIFIC_CHARACTER_SET}
_DICTIONARY: Final = {tag: (f"{tag:08X}", dictionary_VR(tag)) for tag in INDEX_TAGS}
_SEQUENCES: Final = frozenset(tag for tag, (_, vr) in _DICTIONARY.items() if vr == "SQ")
# Longer values are seldom the same in the next instance.
_SHARED_BYTES: Final = 64


def read_header(file: BinaryIO) -> Header:
    """Return the header of a Part 10 file, or of a data set without one.

    Parameters
    ----------
    file
        Seekable; read from its beginning, wherever it stands. A descriptor, if it has
        one, is read by ``pread`` and not moved.

    Raises
    ------
    NotDicom
        The bytes cannot be understood as a data set, or end inside an element or inside
        the pixel data.
    Invalid
        SOP Class, Study, Series or SOP Instance UID is missing or no UID.
    """
    plain = FileReader(file, _HEAD_BYTES)
    meta = read_file_meta(plain)
    reader = inflated(plain, meta.transfer_syntax_uid, meta.data_set_offset)
    try:
        scanned = _scan(reader, meta)
        hashed = _hashed_patient_id(scanned)
        attributes, main_tags = _attributes(scanned)
        identity, sop_class_uid = _identity(attributes, hashed)
        pixel_data = _pixel_data(reader, scanned, attributes)
    except Corrupt as error:
        raise NotDicom(str(error)) from error
    return Header(
        identity,
        sop_class_uid,
        meta.transfer_syntax_uid,
        meta.data_set_offset,
        attributes,
        pixel_data,
        main_tags,
    )


def is_encoded_as_stated(file: BinaryIO, header: Header) -> bool:
    """Return whether the data set has VRs if, and only if, its transfer syntax says so.

    `read_header` understands a data set that does not; a peer who is sent it under that
    transfer syntax may not (PS3.5 7.1). Told by the first element.
    """
    if header.transfer_syntax_uid in DEFLATED:
        return True  # or it could not have been inflated
    first = FileReader(file).read_at(header.data_set_offset + 4, 2)
    return (first in LENGTH_BYTES) == (header.transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN)


def _scan(reader: Reader, meta: FileMeta) -> Scanned:
    explicit = meta.transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN
    little_endian = meta.transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN
    # The first element shows whether the transfer syntax says the truth about VRs.
    looks_explicit = reader.read_at(meta.data_set_offset + 4, 2) in LENGTH_BYTES
    if little_endian and explicit == looks_explicit:
        try:
            return scan(reader, meta.data_set_offset, _WANTED, explicit=explicit)
        except Unusual:
            pass
    return careful_scan(
        reader, meta.data_set_offset, _WANTED, explicit=explicit, little_endian=little_endian
    )


def _attributes(scanned: Scanned) -> tuple[Attributes, dict[str, str]]:
    """Return the index's attributes, and the text of those among Orthanc's main tags.

    The attributes are in the DICOM JSON model, in the order of their tags.
    """
    character_set = scanned.values.pop(SPECIFIC_CHARACTER_SET, None)
    codecs = codecs_for(character_set.raw) if character_set else DEFAULT_CODECS
    attributes: Attributes = {}
    main_tags: dict[str, str] = {}
    for tag, value in scanned.values.items():
        if value.vr == "SQ" or tag in _SEQUENCES:
            key, vr = _DICTIONARY[tag]
            if _usable_vr(value.vr, vr) == "SQ":
                items = _items(value, codecs)
                attributes[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
            continue
        read = _shared_element if len(value.raw) <= _SHARED_BYTES else _element
        key, understood, main_tag, written = read(tag, value.vr, value.raw, codecs)
        if understood is not None:
            attributes[key] = understood
        if written is not None:
            main_tags[main_tag] = written
    return attributes, main_tags


def _element(
    tag: int, vr: str, raw: bytes, codecs: tuple[str, ...]
) -> tuple[str, dict[str, Any] | None, str, str | None]:
    """Understand one element that is no sequence.

    Returns
    -------
    key, understood
        Of the DICOM JSON model; None if its value cannot be that of the index attribute.
    main_tag, written
        Of Orthanc's main tags, and its text; None if it is none of them.
    """
    key, dictionary_vr = _DICTIONARY[tag]
    vr = _usable_vr(vr, dictionary_vr)
    if not vr:
        return key, None, "", None
    main_tag = MAIN_TAGS.get(tag, "")
    told = main_tag and len(raw) <= LONGEST_BYTES
    return key, element(vr, raw, codecs), main_tag, text(vr, raw, codecs) if told else None


# The instances of a series say the same in most of their elements: of 48 in a CT slice, 40.
# Half the time of understanding a header goes with them. Nobody changes what a header holds.
_shared_element = lru_cache(maxsize=4096)(_element)


def _usable_vr(stated: str, dictionary: str) -> str:
    """Return the VR to decode an index attribute with; empty if it cannot be one.

    A file may state another VR than the dictionary, or UN. What comes out must have the
    shape that readers of the index know the attribute by.
    """
    both_strings = stated in STRING_VRS and dictionary in STRING_VRS
    untold = stated in {"", "UN", "OB"} or stated.encode() in UNKNOWN_VRS
    if untold or both_strings or stated == dictionary:
        return dictionary
    numeric = NUMBER_VRS | {"IS", "DS"}
    return stated if stated in numeric and dictionary in numeric else ""


def _items(value: RawValue, codecs: tuple[str, ...]) -> list[Attributes]:
    if value.items is not None:
        return value.items
    try:
        # A sequence in the guise of UN is implicit (PS3.5 6.2.2).
        return sequence(value.raw, codecs, explicit=value.explicit and value.vr == "SQ")
    except Unusual as error:
        raise NotDicom(f"a sequence cannot be read: {error}") from error


def _identity(attributes: Attributes, hashed: str) -> tuple[Identity, str]:
    patient_id = _strings(attributes, "PatientID")
    study, series, instance, sop_class = (
        _uid(attributes, keyword)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    )
    different = hashed if hashed != patient_id else None
    return Identity(patient_id, study, series, instance, different), sop_class


def _hashed_patient_id(scanned: Scanned) -> str:
    """Return the Patient ID as Orthanc hashes it into its ids.

    It takes away the padding that belongs there and nothing else, and that of UN is no blank.
    Text that its character set has no meaning for loses all that is not ASCII.
    """
    value = scanned.values.get(_PATIENT_ID)
    if value is None:
        return ""
    raw = value.raw
    padded = len(raw) % 2 == 0
    if value.vr == "UN":
        raw = raw.removesuffix(b"\0") if padded else raw
    else:
        raw = (raw.rstrip(b" ") if padded else raw).partition(b"\0")[0]
    character_set = scanned.values.get(SPECIFIC_CHARACTER_SET)
    said = decode(raw, codecs_for(character_set.raw) if character_set else DEFAULT_CODECS)
    return raw.decode("ascii", "ignore") if "\ufffd" in said else said


def _uid(attributes: Attributes, keyword: str) -> str:
    text = _strings(attributes, keyword)
    if not text:
        raise Invalid(f"the data set has no {keyword}")
    return parse_uid(text, keyword)


def _strings(attributes: Attributes, keyword: str) -> str:
    """Return the whole value of a string attribute, several as the file has them."""
    values = attributes.get(json_tag(keyword), {}).get("Value", [])
    return "\\".join(str(value) for value in values if value is not None)


def _number(attributes: Attributes, keyword: str) -> int:
    """Return a positive number, or 0 where the attribute has none."""
    values = attributes.get(json_tag(keyword), {}).get("Value", [0])
    return values[0] if isinstance(values[0], int) and values[0] > 0 else 0


def _pixel_data(reader: Reader, scanned: Scanned, attributes: Attributes) -> PixelData | None:
    """Return where the pixels are; None where there is no pixel data or it is empty."""
    element = scanned.pixel_element
    if element is None or not element.length:
        return None
    frames = _number(attributes, "NumberOfFrames")
    if element.length != UNDEFINED:
        missing = element.offset + element.length - reader.size
        if missing > 0:
            raise NotDicom(f"the pixel data ends {missing} bytes early")
        count = _native_frames(element, frames, attributes)
        return PixelData(element.tag, element.offset, element.length, count)
    fragments = walk_fragments(reader, element.offset)
    table = scanned.places.get(EXTENDED_OFFSET_TABLE)
    offsets = frame_offsets(reader, fragments, frames or None, table)
    if not offsets:
        return None
    length = fragments.end - element.offset
    packed = struct.pack(f"<{len(offsets)}Q", *offsets)
    return PixelData(element.tag, element.offset, length, len(offsets) - 1, packed)


def _native_frames(element: PixelElement, declared: int, attributes: Attributes) -> int:
    """Return how many whole frames there are of those declared; one at least."""
    photometric = _strings(attributes, "PhotometricInterpretation")
    bits = frame_size_bits(
        _number(attributes, "Rows"),
        _number(attributes, "Columns"),
        _number(attributes, "SamplesPerPixel") or 1,
        _number(attributes, "BitsAllocated"),
        photometric,
    )
    return max(1, min(declared, element.length * 8 // bits) if bits else declared)
