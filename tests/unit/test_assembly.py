"""Files made of DICOM JSON and bulk data, read back by pydicom, whose own JSON they are made of."""

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from hilum.core.errors import Invalid
from hilum.imaging.assembly import BulkData, assemble
from tests import corpus
from tests.generated import ct

JSON = dict[str, Any]
#: There are enough that are smaller, and time is short.
_LARGEST_BYTES = 40_000


@dataclass
class Bulk:
    """Bulk data in memory."""

    parts: list[bytes] = field(default_factory=list)
    transfer_syntax_uid: str = ""

    @property
    def sizes(self) -> list[int]:
        return [len(part) for part in self.parts]

    def pieces(self, index: int) -> Iterator[bytes]:
        yield self.parts[index][:5]
        yield self.parts[index][5:]


def taken_apart(data_set: Dataset) -> tuple[JSON, dict[str, BulkData]]:
    """Return pydicom's JSON of a data set, and the values that are not in it."""
    bulk: dict[str, BulkData] = {}

    def hand_out(element: pydicom.DataElement) -> str:
        padded = element.value + bytes(len(element.value) % 2)
        uri = hashlib.sha256(padded).hexdigest()  # so that equal JSON means equal bytes
        bulk[uri] = Bulk([element.value])
        return uri

    return json.loads(data_set.to_json(64, hand_out)), bulk


def plain(metadata: JSON) -> JSON:
    """Return it without group lengths, which are retired, and the character set."""
    found: JSON = {}
    for tag, element in metadata.items():
        if not tag.endswith("0000") and tag != "00080005":
            values = element.get("Value", [])
            items = [plain(value) for value in values] if element["vr"] == "SQ" else values
            found[tag] = {**element, "Value": items}
    return found


def made(metadata: JSON, find: Callable[[str], BulkData | None] = lambda _uri: None) -> FileDataset:
    content = b"".join(assemble(metadata, find))
    # Without `force`: with a preamble, as it must be.
    return pydicom.dcmread(io.BytesIO(content))


def native(path: Path) -> FileDataset | None:
    try:
        data_set = pydicom.dcmread(path)
        syntax = data_set.file_meta.TransferSyntaxUID
        if syntax.is_compressed or not syntax.is_little_endian or "SOPClassUID" not in data_set:
            return None
        data_set.decode()
    except (AttributeError, InvalidDicomError, LookupError, ValueError):
        return None
    return data_set


def test_the_corpus_survives_being_taken_apart_and_put_together() -> None:
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about odd values in files
        for path in corpus.all_files()[::2]:
            original = native(path) if path.stat().st_size < _LARGEST_BYTES else None
            if original is None:
                continue
            try:
                metadata, bulk = taken_apart(original)
            except (AttributeError, TypeError, ValueError):
                continue  # pydicom makes no JSON of it
            found = made(metadata, bulk.get)
            assert plain(taken_apart(found)[0]) == plain(metadata), path
            compared += 1
    assert compared > 20, compared


def described(data_set: Dataset, **elements: Any) -> JSON:
    found = json.loads(data_set.to_json(1 << 30))
    return {**found, **elements}


def pixels_elsewhere(data_set: Dataset) -> JSON:
    return described(data_set, **{"7FE00010": {"vr": "OB", "BulkDataURI": "u"}})


def test_frames_become_fragments_and_odd_ones_are_padded() -> None:
    original = ct(NumberOfFrames=3)
    frames = [b"12345", b"1234567", b"1"]
    bulk = Bulk(frames, RLELossless)
    found = made(pixels_elsewhere(original), {"u": bulk}.get)
    assert found.file_meta.TransferSyntaxUID == RLELossless
    assert found.file_meta.MediaStorageSOPInstanceUID == original.SOPInstanceUID
    parts = list(generate_frames(found.PixelData, number_of_frames=3))
    assert parts == [frame + b"\0" for frame in frames]


def test_what_the_metadata_says_of_compression_counts_if_the_pixels_say_nothing() -> None:
    stated = {"00020010": {"vr": "UI", "Value": [JPEGBaseline8Bit]}}
    metadata = {**pixels_elsewhere(ct()), **stated}
    assert made(metadata, {"u": Bulk([b"12"])}.get).file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    said = {"u": Bulk([b"12"], RLELossless)}
    assert made(metadata, said.get).file_meta.TransferSyntaxUID == RLELossless


def test_bulk_data_of_private_and_nested_elements() -> None:
    original = ct()
    original.add_new(0x00090010, "LO", "HERE")
    original.add_new(0x00091001, "OB", bytes(100))
    original.IconImageSequence = [Dataset()]
    original.IconImageSequence[0].PixelData = bytes(range(200))
    original.IconImageSequence[0]["PixelData"].VR = "OB"
    metadata, bulk = taken_apart(original)
    assert len(bulk) == 3
    found = made(metadata, bulk.get)
    assert found.IconImageSequence[0].PixelData == bytes(range(200))
    assert found[0x00091001].value == bytes(100)
    assert found.PixelData == original.PixelData


def test_text_is_in_utf_8_whatever_it_was_before() -> None:
    original = ct(PatientName="Müller^Jürgen")
    original.SpecificCharacterSet = "ISO_IR 100"
    found = made(described(original))
    assert str(found.PatientName) == "Müller^Jürgen"
    assert found.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize(
    "wrong",
    [
        {"00080016": {"vr": "UI"}},
        {"00080018": {"vr": "UI", "Value": []}},
        {"7FE00010": {"vr": "OW", "BulkDataURI": "missing"}},
        {"7FE00010": {"vr": "SQ", "BulkDataURI": "u"}},
        {"7FE00010": {"vr": "??", "BulkDataURI": "u"}},
        {"00200013": {"vr": "IS", "Value": ["many"]}},
        {"00280008": {"vr": "IS", "Value": [2]}, "7FE00010": {"vr": "OB", "BulkDataURI": "rle"}},
        {"PatientName": {"vr": "PN"}},
        {"00100010": "Doe^Jane"},
        {"00100010": {"vr": "PN", "Value": 1}},
    ],
)
def test_what_is_no_data_set_is_invalid(wrong: JSON) -> None:
    bulk = {"u": Bulk([b"12"]), "rle": Bulk([b"12"], RLELossless)}
    with pytest.raises(Invalid):
        made(described(ct(), **wrong), bulk.get)
