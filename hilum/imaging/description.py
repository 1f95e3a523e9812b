"""What the header says about the pixels: all that decoding and rendering need of it.

Attributes are those of the Image Pixel module (PS3.3 C.7.6.3) and its neighbours; the way
of grey values to the display is in `hilum.imaging.grey`.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hilum.core.errors import Invalid, Unsupported
from hilum.core.levels import tag_of
from hilum.imaging.aspect import ASPECT_TAGS, pixel_aspect
from hilum.imaging.elements import Elements, Encoding, read_elements
from hilum.imaging.encoding import EXPLICIT_VR_BIG_ENDIAN, LENGTH_BYTES
from hilum.imaging.frames import frame_size_bits
from hilum.imaging.grey import DOSE_GRID_SCALING, GREY_TAGS, GreyTransform, grey_transforms
from hilum.imaging.lut import Descriptor, LookupTable, unpack, unpack_segments

FLOAT_PIXEL_DATA: Final = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA: Final = 0x7FE00009
PIXEL_DATA: Final = 0x7FE00010

_BITS_ALLOCATED: Final = frozenset({1, 8, 16, 32})


@dataclass(frozen=True, slots=True)
class ImageDescription:
    """Everything of a header that decoding and rendering need."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    """Pixel Representation (0028,0103) is 1."""
    planar_configuration: int
    pixel_tag: int
    """0x7FE00010, or 0x7FE00008 (float) or 0x7FE00009 (double)."""
    pixel_vr: str
    """Of the pixel data element; empty in implicit VR."""
    transforms: tuple[GreyTransform, ...]
    """One for all frames, or one for each."""
    padding: tuple[int, int] | None = None
    """Lowest and highest stored value that is padding, no image (PS3.3 C.7.5.1.1.2)."""
    palette: tuple[LookupTable, LookupTable, LookupTable] | None = None
    """Red, green and blue of PALETTE COLOR."""
    is_label_map: bool = False
    """Values name segments (PS3.3 C.8.20.2): their magnitude has no meaning."""
    is_dose: bool = False
    """Values are parts of a dose (PS3.3 C.8.8.3): the transform makes gray of them."""
    pixel_aspect: float = 1.0
    """Height of a pixel divided by its width."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of a decoded sample, in the machine's byte order."""
        if self.pixel_tag == FLOAT_PIXEL_DATA:
            return np.dtype(np.float32)
        if self.pixel_tag == DOUBLE_FLOAT_PIXEL_DATA:
            return np.dtype(np.float64)
        size = max(self.bits_allocated, 8) // 8
        return np.dtype(f"{'i' if self.signed and self.bits_allocated > 1 else 'u'}{size}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded frame."""
        if self.samples_per_pixel == 1:
            return (self.rows, self.columns)
        return (self.rows, self.columns, self.samples_per_pixel)

    @property
    def frame_bits(self) -> int:
        """Bits of a frame that is stored as it is (`hilum.imaging.frames.read_frame`)."""
        return frame_size_bits(
            self.rows,
            self.columns,
            self.samples_per_pixel,
            self.bits_allocated,
            self.photometric_interpretation,
        )

    def transform(self, frame_index: int) -> GreyTransform:
        """Return the grey transform of a frame, counted from 0."""
        if len(self.transforms) == 1:
            return self.transforms[0]
        return self.transforms[min(frame_index, len(self.transforms) - 1)]


def describe(head: bytes, transfer_syntax_uid: str, data_set_offset: int = 0) -> ImageDescription:
    """Return what a header says about its pixels.

    Parameters
    ----------
    head
        The bytes of the file in front of the pixels, the pixel data element's own header
        included; inflated if the transfer syntax is a deflated one.
    transfer_syntax_uid
        Tells how the header is encoded.
    data_set_offset
        First byte of the data set in `head`.

    Raises
    ------
    Invalid
        A required attribute is missing or impossible; the message names it.
    Unsupported
        The pixels are of a kind this node does not draw, such as 12 bits allocated.
    """
    data_set = memoryview(head)[data_set_offset:]
    encoding = encoding_of(data_set, transfer_syntax_uid)
    return _Describer(read_elements(data_set, encoding, _WANTED)).description()


def encoding_of(data_set: memoryview, transfer_syntax_uid: str) -> Encoding:
    """Return how the elements of a data set are written.

    Data sets in another encoding than their file meta announces do occur; the letters of
    a VR, or their absence, tell.
    """
    return Encoding(
        explicit=bytes(data_set[4:6]) in LENGTH_BYTES,
        little_endian=transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN,
    )


def _tags(*keywords: str) -> tuple[int, ...]:
    return tuple(tag_of(keyword) for keyword in keywords)


_COLOURS: Final = ("Red", "Green", "Blue")
_SAMPLES, _PHOTOMETRIC, _PLANAR, _ROWS, _COLUMNS = _tags(
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"
)
_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION = _tags(
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"
)
_PADDING, _PADDING_LIMIT, _SEGMENTATION_TYPE = _tags(
    "PixelPaddingValue", "PixelPaddingRangeLimit", "SegmentationType"
)
_DESCRIPTORS = _tags(*(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS))
_ENTRIES = _tags(*(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS))
_SEGMENTS = _tags(*(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS))

_WANTED: Final = GREY_TAGS.union(
    ASPECT_TAGS,
    (_SAMPLES, _PHOTOMETRIC, _PLANAR, _ROWS, _COLUMNS),
    (_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION),
    (_PADDING, _PADDING_LIMIT, _SEGMENTATION_TYPE),
    (*_DESCRIPTORS, *_ENTRIES, *_SEGMENTS),
    (FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA),
)


class _Describer:
    """Reads an `ImageDescription` out of the elements of a header."""

    def __init__(self, header: Elements) -> None:
        self._header = header
        self._signed = header.integer(_REPRESENTATION) == 1

    def description(self) -> ImageDescription:
        tag, vr = self._pixel_element()
        allocated = self._bits_allocated(tag)
        stored = self._header.integer(_STORED) or allocated
        if not 1 <= stored <= allocated:
            stored = allocated
        samples = self._header.integer(_SAMPLES) or 1
        photometric = self._header.text(_PHOTOMETRIC)
        if not photometric:
            raise Invalid("Photometric Interpretation (0028,0004) is missing or empty")
        if samples not in {1, 3}:
            raise Unsupported(f"Samples per Pixel (0028,0002) is {samples}")
        high_bit = self._header.integer(_HIGH_BIT)
        if high_bit is None or not stored - 1 <= high_bit < allocated:
            high_bit = stored - 1
        return ImageDescription(
            rows=self._extent(_ROWS, "Rows (0028,0010)"),
            columns=self._extent(_COLUMNS, "Columns (0028,0011)"),
            samples_per_pixel=samples,
            photometric_interpretation=photometric,
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=high_bit,
            signed=self._signed,
            planar_configuration=self._header.integer(_PLANAR) or 0,
            pixel_tag=tag,
            pixel_vr=vr,
            transforms=grey_transforms(self._header, signed=self._signed),
            padding=self._padding(),
            palette=self._palette() if photometric == "PALETTE COLOR" else None,
            is_label_map=self._header.text(_SEGMENTATION_TYPE) == "LABELMAP",
            is_dose=bool(self._header.decimals(DOSE_GRID_SCALING)),
            pixel_aspect=pixel_aspect(self._header),
        )

    def _pixel_element(self) -> tuple[int, str]:
        for tag in (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA):
            if element := self._header.get(tag):
                return tag, element.vr
        return PIXEL_DATA, ""

    def _extent(self, tag: int, what: str) -> int:
        extent = self._header.integer(tag)
        if not extent:
            raise Invalid(f"{what} is missing or 0")
        return extent

    def _bits_allocated(self, tag: int) -> int:
        if tag != PIXEL_DATA:
            return 32 if tag == FLOAT_PIXEL_DATA else 64
        allocated = self._header.integer(_ALLOCATED)
        if allocated is None:
            raise Invalid("Bits Allocated (0028,0100) is missing")
        if allocated not in _BITS_ALLOCATED:
            raise Unsupported(f"Bits Allocated (0028,0100) is {allocated}")
        return allocated

    def _padding(self) -> tuple[int, int] | None:
        value = self._stored_value(_PADDING)
        if value is None:
            return None
        limit = self._stored_value(_PADDING_LIMIT)
        limit = value if limit is None else limit
        return (min(value, limit), max(value, limit))

    def _stored_value(self, tag: int) -> int | None:
        """Return an attribute that is signed as the pixels are, whatever its VR says."""
        value = self._header.integer(tag)
        if value is None:
            return None
        return (value + 32768) % 65536 - 32768 if self._signed else value % 65536

    def _palette(self) -> tuple[LookupTable, LookupTable, LookupTable]:
        red, green, blue = (
            self._palette_table(*tags)
            for tags in zip(_DESCRIPTORS, _ENTRIES, _SEGMENTS, strict=True)
        )
        return red, green, blue

    def _palette_table(self, descriptor_tag: int, entries: int, segments: int) -> LookupTable:
        descriptor = Descriptor.parse(
            self._header.words(descriptor_tag), signed=self._signed, what="Palette"
        )
        values = unpack(self._header.get(entries), descriptor)
        if not values.size:
            values = unpack_segments(self._header.get(segments), descriptor)
        if not values.size:
            raise Invalid("Palette Color Lookup Table Data (0028,1201 to 1203) are missing")
        # Tables announced as 16-bit whose entries are 8-bit numbers all the same are
        # common enough to be told by their values.
        bits = 8 if values.max() < 256 else descriptor.bits
        return LookupTable.from_values(replace(descriptor, bits=bits), values)
