"""Elements as JSON that pydicom has read: the careful way of `hilum.imaging.data_set_json`."""

from collections.abc import Iterator
from typing import Final

import orjson
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from hilum.core.errors import NotDicom
from hilum.imaging.careful_scan import PYDICOM_ERRORS, bytes_of, codecs_of
from hilum.imaging.dicom_json import Codecs
from hilum.imaging.json_items import DEPTH, of_items
from hilum.imaging.json_members import bulk, creator_of, is_bulk, known_vr, member
from hilum.imaging.scan import SPECIFIC_CHARACTER_SET

#: Of all sequences of a data set together: an item costs pydicom twenty times the time and
#: memory that it costs the fast way.
_SEQUENCES_LIMIT_BYTES: Final = 4 << 20
_PIXEL_REPRESENTATION: Final = 0x00280103


class Allowance:
    """The bytes of sequences that pydicom may still be asked to read."""

    def __init__(self) -> None:
        self._bytes_left = _SEQUENCES_LIMIT_BYTES

    def spend(self, size: int) -> None:
        """Take `size` bytes off; raise `NotDicom` when there are not as many."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise NotDicom("its sequences are longer than any metadata")


def careful_members(
    data_set: Dataset,
    codecs: Codecs,
    depth: int,
    path: str,
    allowance: Allowance,
    *,
    signed: bool = False,
) -> Iterator[bytes]:
    """Yield the elements of a data set or an item that pydicom has read.

    Raises
    ------
    NotDicom
        Sequences are nested too deeply, or there is more of them than `allowance` has left.
    """
    if depth > DEPTH:
        raise NotDicom("sequences nested too deeply")
    codecs = codecs_of(data_set, codecs)
    # All before any sequence is read: pydicom then converts what it needs for that.
    elements: list[tuple[BaseTag, RawDataElement | DataElement]] = [
        (tag, data_set.get_item(tag, keep_deferred=True)) for tag in sorted(data_set.keys())
    ]
    creators: dict[int, str] = {}
    for tag, found in elements:
        if tag.element == 0 or tag == SPECIFIC_CHARACTER_SET:
            continue
        raw = bytes_of(found) if isinstance(found, RawDataElement) else b""
        if tag.is_private_creator:
            creators[tag >> 8 & 0xFFFF00 | tag.element] = creator_of(raw)
        if tag == _PIXEL_REPRESENTATION:
            signed = (raw[:1] == b"\1") if raw else found.value == 1
        vr = str(found.VR)
        if vr in {"None", "UN"}:
            vr = known_vr(tag, signed, creators.get(tag >> 8))
        if vr == "SQ":
            if depth == 0:
                allowance.spend(len(raw))
            inside = f"{path}{tag:08X}/"
            items = _careful_items(data_set, tag, codecs, depth, inside, allowance, signed)
            if items is not None:
                yield of_items(tag, items)
                continue
            vr = "UN"  # no items: the bytes it has
        if isinstance(found, DataElement) and not found.is_empty:
            yield b'"%08X":%b' % (tag, orjson.dumps(found.to_json_dict(None, 0)))
        elif is_bulk(vr, len(raw)):
            yield bulk(tag, vr, f"{path}{tag:08X}")
        else:
            yield member(tag, vr, raw, codecs)


def _careful_items(
    data_set: Dataset,
    tag: int,
    codecs: Codecs,
    depth: int,
    path: str,
    allowance: Allowance,
    signed: bool,
) -> list[bytes] | None:
    """Return the items of a sequence; None if it cannot be read as one."""
    try:
        return [
            b"{%b}"
            % b",".join(
                careful_members(
                    item, codecs, depth + 1, f"{path}{place}/", allowance, signed=signed
                )
            )
            for place, item in enumerate(data_set[tag].value or [], 1)
        ]
    except PYDICOM_ERRORS:
        return None
