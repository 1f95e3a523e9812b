"""Headers as descriptions: pydicom as the oracle, and what real files get wrong."""

import contextlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels.processing import _expand_segmented_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.core.errors import HilumError, Invalid, Unsupported
from hilum.imaging.description import ImageDescription, describe
from hilum.imaging.elements import Element, Encoding
from hilum.imaging.grey import GreyTransform, Rescale, Window
from hilum.imaging.lut import Descriptor, LookupTable, unpack, unpack_segments
from tests.corpus import all_files, pydicom_files
from tests.pictures import source

ENCODINGS = {
    ImplicitVRLittleEndian: (True, True),
    ExplicitVRLittleEndian: (False, True),
    ExplicitVRBigEndian: (False, False),
}


def image(**values: Any) -> Dataset:
    data_set = Dataset()
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.Rows, data_set.Columns = 4, 6
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.PixelRepresentation = 0
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def head(data_set: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as bytes, written by pydicom, up to where the pixels would begin."""
    implicit, little = ENCODINGS[syntax]
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_dataset(buffer, data_set)
    tag = (0x7FE0, 0x0010)
    order = "little" if little else "big"
    element = b"".join(number.to_bytes(2, order) for number in tag)
    return buffer.getvalue() + element + (b"" if implicit else b"OW\0\0") + b"\0" * 4


def described(syntax: str = ExplicitVRLittleEndian, **values: Any) -> ImageDescription:
    return describe(head(image(**values), syntax), syntax)


def lut(values: list[int], first: int, bits: int, **more: Any) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values) % 65536, first % 65536, bits])
    item.add_new("LUTData", "US", values)
    for keyword, value in more.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize("path", all_files(), ids=lambda path: path.name)
def test_the_image_pixel_module_is_what_pydicom_reads(path: Path, tmp_path: Path) -> None:
    found = source(path, tmp_path)
    if found is None:
        return  # nothing a node would ever describe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(found.path, stop_before_pixels=True, force=True)
        try:
            description = found.description()
        except HilumError:
            assert "BitsAllocated" not in expected
            return
        assert (description.rows, description.columns) == (expected.Rows, expected.Columns)
        assert description.samples_per_pixel == expected.SamplesPerPixel
        assert description.photometric_interpretation == expected.PhotometricInterpretation
        assert description.bits_allocated == expected.BitsAllocated
        assert description.bits_stored == expected.get("BitsStored", expected.BitsAllocated)
        assert description.signed == bool(expected.get("PixelRepresentation", 0))
        assert description.planar_configuration == expected.get("PlanarConfiguration", 0)


@pytest.mark.parametrize("path", pydicom_files(), ids=lambda path: path.name)
def test_rescale_and_windows_are_what_pydicom_reads(path: Path, tmp_path: Path) -> None:
    found = source(path, tmp_path)
    if found is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(found.path, stop_before_pixels=True)
        if "BitsAllocated" not in expected or "PerFrameFunctionalGroupsSequence" in expected:
            return
        transform = found.description().transform(0)
        if "RescaleSlope" in expected and "ModalityLUTSequence" not in expected:
            rescale = Rescale(float(expected.RescaleSlope), float(expected.RescaleIntercept))
            assert transform.modality == rescale
        centers = np.atleast_1d(expected.get("WindowCenter") or [])
        widths = np.atleast_1d(expected.get("WindowWidth") or [])
        windows = [Window(float(c), float(w)) for c, w in zip(centers, widths, strict=True)]
        assert list(transform.windows) == windows


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_every_encoding_says_the_same(syntax: str) -> None:
    values = {
        "WindowCenter": [40, 300],
        "WindowWidth": [400, 1500],
        "RescaleSlope": "0.5",
        "RescaleIntercept": "-1024",
        "VOILUTFunction": "SIGMOID",
        "PixelPaddingValue": 7,
        "PixelPaddingRangeLimit": 5,
    }
    description = described(syntax, **values)
    assert description.transforms == (
        GreyTransform(
            Rescale(0.5, -1024.0),
            (Window(40.0, 400.0, "SIGMOID"), Window(300.0, 1500.0, "SIGMOID")),
            "SIGMOID",
        ),
    )
    assert description.padding == (5, 7)
    assert description.dtype == np.uint16


def test_a_data_set_that_is_not_encoded_as_announced_is_understood() -> None:
    written = head(image(), ImplicitVRLittleEndian)
    assert describe(written, ExplicitVRLittleEndian).columns == 6


def test_padding_of_signed_pixels_is_signed_whatever_its_vr() -> None:
    data_set = image(PixelRepresentation=1, BitsStored=16, HighBit=15)
    data_set.add_new("PixelPaddingValue", "US", 63536)
    assert describe(head(data_set), ExplicitVRLittleEndian).padding == (-2000, -2000)


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("Rows", "(0028,0010)"),
        ("Columns", "(0028,0011)"),
        ("BitsAllocated", "(0028,0100)"),
        ("PhotometricInterpretation", "(0028,0004)"),
    ],
)
def test_a_missing_attribute_is_named(keyword: str, tag: str) -> None:
    data_set = image()
    del data_set[keyword]
    with pytest.raises(Invalid) as caught:
        describe(head(data_set), ExplicitVRLittleEndian)
    assert tag in str(caught.value)


@pytest.mark.parametrize("values", [{"BitsAllocated": 12}, {"SamplesPerPixel": 4}])
def test_pixels_of_another_kind_are_unsupported(values: dict[str, int]) -> None:
    with pytest.raises(Unsupported):
        described(**values)


def test_windows_without_a_meaning_are_passed_over() -> None:
    description = described(WindowCenter=[0, 50], WindowWidth=[0, 100])
    assert description.transform(0).windows == (Window(50.0, 100.0),)


def test_a_number_that_is_none_counts_as_absent() -> None:
    data_set = image(RescaleSlope="1", RescaleIntercept="0")
    written = head(data_set).replace(b"DS\x02\x001 ", b"DS\x02\x00x ")
    assert describe(written, ExplicitVRLittleEndian).transform(0).modality == Rescale()


def functional_group(**values: Any) -> Dataset:
    group = Dataset()
    transformation, voi = Dataset(), Dataset()
    for keyword, value in values.items():
        setattr(transformation if keyword.startswith("Rescale") else voi, keyword, value)
    if transformation:
        group.PixelValueTransformationSequence = Sequence([transformation])
    if voi:
        group.FrameVOILUTSequence = Sequence([voi])
    return group


@pytest.mark.parametrize("undefined_length", [False, True])
def test_a_frames_own_group_wins_over_the_shared_one(undefined_length: bool) -> None:
    shared = functional_group(
        RescaleSlope=2, RescaleIntercept=-5, WindowCenter=100, WindowWidth=200
    )
    own = [
        functional_group(WindowCenter=10, WindowWidth=20),
        functional_group(RescaleSlope=3, RescaleIntercept=1),
        functional_group(),
    ]
    data_set = image(
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(own),
    )
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        data_set[keyword].is_undefined_length = undefined_length
        for item in data_set[keyword].value:
            item.is_undefined_length_sequence_item = undefined_length
    description = describe(head(data_set), ExplicitVRLittleEndian)
    first, second, third = (description.transform(index) for index in range(3))
    assert (first.modality, first.windows) == (Rescale(2.0, -5.0), (Window(10.0, 20.0),))
    assert (second.modality, second.windows) == (Rescale(3.0, 1.0), (Window(100.0, 200.0),))
    assert (third.modality, third.windows) == (Rescale(2.0, -5.0), (Window(100.0, 200.0),))


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_lookup_tables_are_read_in_every_encoding(syntax: str) -> None:
    entries = [0, 100, 4095]
    description = described(
        syntax,
        ModalityLUTSequence=Sequence([lut(entries, 10, 12)]),
        VOILUTSequence=Sequence([lut(entries, 0, 12), lut([5, 6], 3, 8)]),
    )
    transform = description.transform(0)
    assert transform.modality == LookupTable(10, 12, np.array(entries, "<u2").tobytes())
    assert [table.first for table in transform.voi_luts] == [0, 3]
    assert transform.voi_luts[0].values().tolist() == entries


def test_a_voi_lut_over_negative_values_begins_below_zero() -> None:
    sequence = Sequence([lut([1, 2, 3], -1024, 8)])
    description = described(RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=sequence)
    assert description.transform(0).voi_luts[0].first == -1024


def test_a_descriptor_of_0_entries_means_65536() -> None:
    assert Descriptor.parse(words(0, 0, 16), signed=False, what="VOI").count == 65536


@pytest.mark.parametrize("values", [(), (1, 2), (4, 0, 0), (4, 0, 17)])
def test_an_impossible_descriptor_is_invalid(values: tuple[int, ...]) -> None:
    with pytest.raises(Invalid, match="Palette"):
        Descriptor.parse(words(*values), signed=False, what="Palette")


def words(*values: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.array(values, np.uint16)


def element(data: bytes, *, little_endian: bool = True) -> Element:
    return Element("OW", memoryview(data), Encoding(True, little_endian))


def test_8_bit_entries_may_be_bytes_or_words() -> None:
    descriptor = Descriptor(3, 0, 8)
    assert unpack(element(bytes([1, 2, 3, 0])), descriptor).tolist() == [1, 2, 3]
    swapped = element(bytes([2, 1, 0, 3]), little_endian=False)
    assert unpack(swapped, descriptor).tolist() == [1, 2, 3]
    assert unpack(element(bytes([1, 0, 2, 0, 3, 0])), descriptor).tolist() == [1, 2, 3]


def test_segmented_palettes_expand_as_pydicom_expands_them() -> None:
    name = "gdcm-US-ALOKA-16.dcm"
    path = next((path for path in all_files() if path.name.endswith(name)), None)
    if path is None:
        pytest.skip(f"{name} is not in this clone")
    data_set = pydicom.dcmread(path)
    for colour in ("Red", "Green", "Blue"):
        data = data_set[f"Segmented{colour}PaletteColorLookupTableData"].value
        segments = tuple(np.frombuffer(data, "<u2").tolist())
        found = unpack_segments(element(data), Descriptor(65536, 0, 16))
        assert found.tolist() == _expand_segmented_lut(segments, "<H")


def test_an_indirect_segment_copies_what_it_points_at() -> None:
    # Discrete 1 2 3, linear to 9 in 3 steps; then both again, from byte 0.
    data = words(0, 3, 1, 2, 3, 1, 3, 9, 2, 2, 0, 0).tobytes()
    found = unpack_segments(element(data), Descriptor(12, 0, 16))
    assert found.tolist() == [1, 2, 3, 5, 7, 9, 1, 2, 3, 5, 7, 9]


def test_8_bit_segments_are_bytes() -> None:
    data = bytes([0, 3, 1, 2, 3, 1, 3, 9, 2, 2, 0, 0, 0, 0])
    found = unpack_segments(element(data), Descriptor(12, 0, 8))
    assert found.tolist() == [1, 2, 3, 5, 7, 9, 1, 2, 3, 5, 7, 9]


@pytest.mark.parametrize(
    "segments", [[1, 3, 9], [3, 1, 1], [2, 1, 0, 0], [0, 1, 5, 2, 1, 3, 0], [0, 1, 5, 1, 4]]
)
def test_a_senseless_segment_is_invalid(segments: list[int]) -> None:
    with pytest.raises(Invalid):
        unpack_segments(element(words(*segments).tobytes()), Descriptor(256, 0, 16))


def test_a_modality_lut_that_is_no_table_is_invalid_a_voi_lut_is_passed_over() -> None:
    broken = lut([1, 2], 0, 99)
    assert described(VOILUTSequence=Sequence([broken])).transform(0).voi_luts == ()
    with pytest.raises(Invalid, match="Modality"):
        described(ModalityLUTSequence=Sequence([broken]))


def test_a_description_travels_between_processes() -> None:
    description = described(VOILUTSequence=Sequence([lut([1, 2], 0, 8)]))
    assert pickle.loads(pickle.dumps(description)) == description
    assert hash(description) == hash(pickle.loads(pickle.dumps(description)))


@pytest.mark.parametrize("cut", range(0, 200, 3))
def test_a_header_cut_anywhere_is_described_or_invalid(cut: int) -> None:
    shared = functional_group(RescaleSlope=2, RescaleIntercept=-5)
    data_set = image(SharedFunctionalGroupsSequence=Sequence([shared]))
    data_set["SharedFunctionalGroupsSequence"].is_undefined_length = True
    written = io.BytesIO(head(data_set)).read(cut)
    with contextlib.suppress(HilumError):
        assert describe(written, ExplicitVRLittleEndian).rows == 4
