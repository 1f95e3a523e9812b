"""The way of grey values from stored to displayed, as a header describes it.

Modality LUT (PS3.3 C.11.1) and VOI LUT (C.11.2), of the image as a whole or of its
functional groups (C.7.6.16), where a frame's own group wins over the shared one.
"""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from hilum.core.errors import Invalid
from hilum.core.levels import tag_of
from hilum.imaging.elements import Elements
from hilum.imaging.lut import Descriptor, LookupTable, unpack

#: VOI LUT Function (0028,1056).
Function: TypeAlias = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS: Final = frozenset(get_args(Function))


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


(
    _CENTER,
    _WIDTH,
    _FUNCTION,
    _SLOPE,
    _INTERCEPT,
    DOSE_GRID_SCALING,
    _MODALITY_LUT,
    _VOI_LUT,
    _DESCRIPTOR,
    _LUT_DATA,
    _SHARED,
    _PER_FRAME,
    _PIXEL_VALUES,
    _FRAME_VOI,
) = map(
    tag_of,
    (
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
        "RescaleSlope",
        "RescaleIntercept",
        "DoseGridScaling",
        "ModalityLUTSequence",
        "VOILUTSequence",
        "LUTDescriptor",
        "LUTData",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "PixelValueTransformationSequence",
        "FrameVOILUTSequence",
    ),
)
_GROUPS: Final = frozenset({_PIXEL_VALUES, _FRAME_VOI})

#: What `grey_transforms` reads of a header.
GREY_TAGS: Final = frozenset(
    {_CENTER, _WIDTH, _FUNCTION, _SLOPE, _INTERCEPT, DOSE_GRID_SCALING, _MODALITY_LUT, _VOI_LUT}
    | {_SHARED, _PER_FRAME}
)


def grey_transforms(header: Elements, *, signed: bool) -> tuple[GreyTransform, ...]:
    """Return the transform of all frames, or that of each frame where they differ.

    Parameters
    ----------
    header
        The elements of the data set that have `GREY_TAGS`.
    signed
        Pixel Representation (0028,0103) is 1.

    Raises
    ------
    Invalid
        The Modality LUT is no table.
    """
    shared = _transform(header, GreyTransform(), signed)
    for group in header.items(_SHARED, _GROUPS)[:1]:
        shared = _refined(group, shared, signed)
    frames = header.items(_PER_FRAME, _GROUPS)
    transforms = tuple(_refined(group, shared, signed) for group in frames) or (shared,)
    return transforms if len(set(transforms)) > 1 else transforms[:1]


def _refined(group: Elements, outer: GreyTransform, signed: bool) -> GreyTransform:
    """Return `outer` with what a functional group says in its place."""
    for tag in (_PIXEL_VALUES, _FRAME_VOI):
        for item in group.items(tag)[:1]:
            outer = _transform(item, outer, signed)
    return outer


def _transform(elements: Elements, outer: GreyTransform, signed: bool) -> GreyTransform:
    """Return `outer` with what these elements say in its place."""
    modality = _modality(elements, signed) or outer.modality
    function = _function(elements) or outer.function
    windows = _windows(elements, function)
    # Where modality values may be negative, so may the input of the VOI LUT.
    negative = signed or (isinstance(modality, Rescale) and modality.intercept < 0)
    luts = _voi_luts(elements, negative)
    if not windows and not luts:
        windows, luts = outer.windows, outer.voi_luts
    return GreyTransform(modality, windows, function, luts)


def _modality(elements: Elements, signed: bool) -> Modality | None:
    for item in elements.items(_MODALITY_LUT)[:1]:
        if item.get(_LUT_DATA) is not None:
            return _table(item, signed=signed, what="Modality")
    # A dose has a factor in place of a slope (PS3.3 C.8.8.3): windows are then in gray.
    slope = elements.decimals(_SLOPE) or elements.decimals(DOSE_GRID_SCALING)
    intercept = elements.decimals(_INTERCEPT)
    if not slope and not intercept:
        return None
    rescale = Rescale(slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)
    # A slope of 0 would make every value the same: it is written by mistake.
    if not (math.isfinite(rescale.slope) and math.isfinite(rescale.intercept) and rescale.slope):
        return None
    return rescale


def _function(elements: Elements) -> Function | None:
    text = elements.text(_FUNCTION)
    return next((function for function in get_args(Function) if function == text), None)


def _windows(elements: Elements, function: Function) -> tuple[Window, ...]:
    windows = []
    for center, width in zip(elements.decimals(_CENTER), elements.decimals(_WIDTH), strict=False):
        # Equipment writes 0\0 for "none".
        with suppress(Invalid):
            windows.append(Window(center, width, function))
    return tuple(windows)


def _voi_luts(elements: Elements, signed: bool) -> tuple[LookupTable, ...]:
    tables = []
    for item in elements.items(_VOI_LUT):
        # The picture can be shown without; a table that is not one is as good as absent.
        with suppress(Invalid):
            tables.append(_table(item, signed=signed, what="VOI"))
    return tuple(tables)


def _table(item: Elements, *, signed: bool, what: str) -> LookupTable:
    # The VR of a descriptor is no help: its second value alone may be signed.
    descriptor = Descriptor.parse(item.words(_DESCRIPTOR), signed=signed, what=what)
    return LookupTable.from_values(descriptor, unpack(item.get(_LUT_DATA), descriptor))
