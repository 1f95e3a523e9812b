"""What the header says about the pixels: all that decoding and rendering need of it.

Attributes are those of PS3.3 C.7.6.3 (Image Pixel), C.11.1 (Modality LUT), C.11.2 (VOI
LUT) and C.7.6.16 (functional groups, where a frame's own win over the shared ones).
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from hilum.core.errors import Invalid, Unsupported
from hilum.core.levels import tag_of
from hilum.imaging.elements import Element, Elements, Encoding, read_elements
from hilum.imaging.encoding import EXPLICIT_VR_BIG_ENDIAN, LENGTH_BYTES
from hilum.imaging.lut import Descriptor, LookupTable, unpack, unpack_segments

#: VOI LUT Function (0028,1056).
Function: TypeAlias = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS: Final = frozenset(get_args(Function))

FLOAT_PIXEL_DATA: Final = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA: Final = 0x7FE00009
PIXEL_DATA: Final = 0x7FE00010

_BITS_ALLOCATED: Final = frozenset({1, 8, 16, 32})


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window over modality values (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: Function = "LINEAR"

    def __post_init__(self) -> None:
        """Refuse what the formulas are not defined for.

        Raises
        ------
        Invalid
            The width is below 1 (LINEAR) or not positive, or a number is not finite.
        """
        if self.function not in FUNCTIONS:
            raise Invalid(f"unknown VOI LUT function {self.function!r}")
        if not (math.isfinite(self.center) and math.isfinite(self.width)):
            raise Invalid("window center and width must be finite numbers")
        if self.function == "LINEAR" and self.width < 1:
            raise Invalid(f"window width {self.width:g} is below 1 (PS3.3 C.11.2.1.2.1)")
        if self.width <= 0:
            raise Invalid(f"window width {self.width:g} is not positive (PS3.3 C.11.2.1.3)")


@dataclass(frozen=True, slots=True)
class Rescale:
    """Stored values to modality values: ``slope * stored + intercept`` (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0


Modality: TypeAlias = Rescale | LookupTable
Voi: TypeAlias = Window | LookupTable


@dataclass(frozen=True, slots=True)
class GreyTransform:
    """The way of a frame's grey values from stored to displayed, as its header has it."""

    modality: Modality = Rescale()
    windows: tuple[Window, ...] = ()
    function: Function = "LINEAR"
    """What the file would have done with a window, also with one the viewer chooses."""
    voi_luts: tuple[LookupTable, ...] = ()


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
    def is_grey(self) -> bool:
        """The pixels go through modality LUT and VOI LUT."""
        return self.photometric_interpretation in {"MONOCHROME1", "MONOCHROME2"}

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
    encoding = Encoding(
        # Data sets in another encoding than their file meta announces do occur; the
        # letters of a VR, or their absence, tell.
        explicit=bytes(data_set[4:6]) in LENGTH_BYTES,
        little_endian=transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN,
    )
    return _Describer(read_elements(data_set, encoding, _WANTED)).description()


def _tags(*keywords: str) -> tuple[int, ...]:
    return tuple(tag_of(keyword) for keyword in keywords)


_SAMPLES, _PHOTOMETRIC, _PLANAR, _ROWS, _COLUMNS = _tags(
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"
)
_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION = _tags(
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"
)
_PADDING, _PADDING_LIMIT = _tags("PixelPaddingValue", "PixelPaddingRangeLimit")
_CENTER, _WIDTH, _FUNCTION = _tags("WindowCenter", "WindowWidth", "VOILUTFunction")
_SLOPE, _INTERCEPT = _tags("RescaleSlope", "RescaleIntercept")
_MODALITY_LUT, _VOI_LUT, _DESCRIPTOR, _LUT_DATA = _tags(
    "ModalityLUTSequence", "VOILUTSequence", "LUTDescriptor", "LUTData"
)
_PALETTE_DESCRIPTORS = _tags(
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue"))
)
_PALETTE_DATA = _tags(
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))
)
_PALETTE_SEGMENTS = _tags(
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))
)
_SHARED, _PER_FRAME, _PIXEL_VALUES, _FRAME_VOI = _tags(
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
)
(_SEGMENTATION_TYPE,) = _tags("SegmentationType")

_WANTED: Final = frozenset(
    {
        *(_SAMPLES, _PHOTOMETRIC, _PLANAR, _ROWS, _COLUMNS),
        *(_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION, _PADDING, _PADDING_LIMIT),
        *(_CENTER, _WIDTH, _FUNCTION, _SLOPE, _INTERCEPT, _MODALITY_LUT, _VOI_LUT),
        *(*_PALETTE_DESCRIPTORS, *_PALETTE_DATA, *_PALETTE_SEGMENTS),
        *(_SHARED, _PER_FRAME, _SEGMENTATION_TYPE),
        *(FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA),
    }
)
_WANTED_OF_GROUPS: Final = frozenset({_PIXEL_VALUES, _FRAME_VOI})


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
            transforms=self._transforms(),
            padding=self._padding(),
            palette=self._palette() if photometric == "PALETTE COLOR" else None,
            is_label_map=self._header.text(_SEGMENTATION_TYPE) == "LABELMAP",
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

    def _transforms(self) -> tuple[GreyTransform, ...]:
        shared = _transform(self._header, GreyTransform(), self._signed)
        for group in self._header.items(_SHARED, _WANTED_OF_GROUPS)[:1]:
            shared = self._refine(group, shared)
        frames = self._header.items(_PER_FRAME, _WANTED_OF_GROUPS)
        transforms = [self._refine(group, shared) for group in frames] or [shared]
        if all(transform == transforms[0] for transform in transforms):
            return (transforms[0],)
        return tuple(transforms)

    def _refine(self, group: Elements, outer: GreyTransform) -> GreyTransform:
        """Return `outer` with what a functional group says in its place."""
        for tag in (_PIXEL_VALUES, _FRAME_VOI):
            for item in group.items(tag)[:1]:
                outer = _transform(item, outer, self._signed)
        return outer

    def _palette(self) -> tuple[LookupTable, LookupTable, LookupTable]:
        tables = [
            self._palette_table(descriptor, data, segments)
            for descriptor, data, segments in zip(
                _PALETTE_DESCRIPTORS, _PALETTE_DATA, _PALETTE_SEGMENTS, strict=True
            )
        ]
        return (tables[0], tables[1], tables[2])

    def _palette_table(self, descriptor_tag: int, data_tag: int, segments_tag: int) -> LookupTable:
        descriptor = Descriptor.parse(
            _unsigned(self._header.get(descriptor_tag)), signed=self._signed, what="Palette"
        )
        if element := self._header.get(data_tag):
            values = unpack(
                bytes(element.data), descriptor, little_endian=element.encoding.little_endian
            )
        elif element := self._header.get(segments_tag):
            values = unpack_segments(
                bytes(element.data), descriptor, little_endian=element.encoding.little_endian
            )
        else:
            raise Invalid("Palette Color Lookup Table Data (0028,1201) are missing")
        # Tables announced as 16-bit whose entries are 8-bit numbers all the same are
        # common enough to be told by their values.
        bits = 8 if values.size and values.max() < 256 else descriptor.bits
        return LookupTable.from_values(replace(descriptor, bits=bits), values)


def _unsigned(element: Element | None) -> tuple[int, ...]:
    """Return the words of a LUT Descriptor, whose VR is no help (PS3.3 C.11.1.1)."""
    if element is None:
        return ()
    data = bytes(element.data[: len(element.data) // 2 * 2])
    return tuple(np.frombuffer(data, element.encoding.order + "u2").tolist())


def _transform(elements: Elements, outer: GreyTransform, signed: bool) -> GreyTransform:
    """Return `outer` with what these elements say in its place (PS3.3 C.11.1, C.11.2)."""
    modality = _modality(elements, signed)
    if modality is not None:
        outer = replace(outer, modality=modality)
    function = elements.text(_FUNCTION)
    function_known: Function = function if function in FUNCTIONS else outer.function  # type: ignore[assignment]
    windows = _windows(elements, function_known)
    negative = signed or (isinstance(outer.modality, Rescale) and outer.modality.intercept < 0)
    luts = tuple(
        table
        for item in elements.items(_VOI_LUT)
        if (table := _table(item, signed=negative, what="VOI")) is not None
    )
    if windows or luts:
        return replace(outer, windows=windows, function=function_known, voi_luts=luts)
    return replace(outer, function=function_known)


def _modality(elements: Elements, signed: bool) -> Modality | None:
    for item in elements.items(_MODALITY_LUT)[:1]:
        table = _table(item, signed=signed, what="Modality")
        if table is not None:
            return table
    slope, intercept = elements.decimals(_SLOPE), elements.decimals(_INTERCEPT)
    if not slope and not intercept:
        return None
    rescale = Rescale(slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)
    # A slope of 0 would make every value the same: it is written by mistake.
    if not (math.isfinite(rescale.slope) and math.isfinite(rescale.intercept) and rescale.slope):
        return None
    return rescale


def _windows(elements: Elements, function: Function) -> tuple[Window, ...]:
    windows = []
    for center, width in zip(elements.decimals(_CENTER), elements.decimals(_WIDTH), strict=False):
        try:
            windows.append(Window(center, width, function))
        except Invalid:
            # Equipment writes 0\0 for "none".
            continue
    return tuple(windows)


def _table(item: Elements, *, signed: bool, what: str) -> LookupTable | None:
    data = item.get(_LUT_DATA)
    if data is None:
        return None
    try:
        descriptor = Descriptor.parse(_unsigned(item.get(_DESCRIPTOR)), signed=signed, what=what)
        values = unpack(bytes(data.data), descriptor, little_endian=data.encoding.little_endian)
        return LookupTable.from_values(descriptor, values)
    except Invalid:
        # The picture can be shown without; a table that is not one is as good as absent.
        return None
