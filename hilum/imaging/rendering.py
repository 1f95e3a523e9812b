"""How a client wants to see a frame: a value that names a picture, whoever draws it."""

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from hilum.core.errors import Invalid
from hilum.imaging.grey import FUNCTIONS, Function, Window

#: Kinds of file a picture can be written as.
Format: TypeAlias = Literal["png", "jpeg", "webp", "pam"]
#: What a file may hold instead of shades made for the eye.
Values: TypeAlias = Literal["stored"]

#: Orthanc's names for what it makes of a frame (`hilum.imaging.extraction`).
Mode: TypeAlias = Literal["preview", "rendered", "uint8", "uint16", "int16"]

#: Presentation LUT Shape (2050,0020), as far as it makes sense on a screen.
Shape: TypeAlias = Literal["IDENTITY", "INVERSE"]

#: Longest side that is made; a JPEG cannot be longer.
LONGEST_SIDE: Final = 65535
#: An enlargement beyond this is a request for memory, not for a picture.
_VIEWPORT_PIXELS: Final = 1 << 26


class Unfulfillable(Invalid):
    """The rendering makes sense, but not of this frame: a region that lies outside of it."""

    code = "invalid-rendering"


@dataclass(frozen=True, slots=True)
class Viewport:
    """The space a picture is to fill, and the part of the frame it is to show.

    The picture becomes as large as fits, enlarged if need be, and is not distorted, even
    if the frame's pixels are not square (PS3.18 8.3.5.1.3).

    Raises
    ------
    Invalid
        At creation: a number is not finite, a side is not positive or too long, or the
        region has no area.
    """

    columns: int
    rows: int
    left: float = 0.0
    """Of the region, in columns of the frame from its left edge."""
    top: float = 0.0
    width: float | None = None
    """Of the region, in columns; to the right edge if not said; negative: mirrored."""
    height: float | None = None
    """Of the region, in rows; to the bottom edge if not said; negative: upside down."""

    def __post_init__(self) -> None:
        if not (1 <= self.columns <= LONGEST_SIDE and 1 <= self.rows <= LONGEST_SIDE):
            raise Invalid(f"a viewport's sides must be between 1 and {LONGEST_SIDE} pixels")
        if self.columns * self.rows > _VIEWPORT_PIXELS:
            raise Invalid(f"a viewport may have {_VIEWPORT_PIXELS} pixels at most")
        extents = [extent for extent in (self.width, self.height) if extent is not None]
        if not all(map(math.isfinite, (self.left, self.top, *extents))):
            raise Invalid("a viewport's region must be given in finite numbers")
        if self.left < 0 or self.top < 0:
            raise Invalid("a viewport's region cannot begin outside the frame")
        if 0 in extents:
            raise Invalid("a viewport's region must have an area")


@dataclass(frozen=True, slots=True)
class Extraction:
    """How Orthanc would make a picture of a frame's samples.

    Raises
    ------
    Invalid
        At creation: a side is negative or too long.
    """

    mode: Mode
    center: float | None = None
    """Of ``rendered``: in place of the file's."""
    width: float | None = None
    columns: int = 0
    """Of ``rendered``: the box to fit into; 0: as large as the other side makes it."""
    rows: int = 0
    smooth: bool = False
    """Blur before it is made smaller."""

    def __post_init__(self) -> None:
        if not (0 <= self.columns <= LONGEST_SIDE and 0 <= self.rows <= LONGEST_SIDE):
            raise Invalid(f"a picture's sides must be between 0 and {LONGEST_SIDE} pixels")


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a client wants to see a frame; what is not said is the file's own choice.

    Raises
    ------
    Invalid
        At creation: only one of `center` and `width` is given, the width is below 1 for
        LINEAR or not positive, or another number is out of range.
    """

    center: float | None = None
    width: float | None = None
    function: Function | None = None
    invert: bool = False
    size: int | None = None
    """Longest side in pixels, at most; a smaller picture is not enlarged."""
    window_index: int = 0
    """Which of the file's windows to use, from 0."""
    viewport: Viewport | None = None
    overlays: bool = False
    """Burn in the planes of groups 60xx."""
    presentation: Shape | None = None
    """Of grey values, instead of what the photometric interpretation says."""
    format: Format = "png"
    quality: int | None = None
    """Of JPEG and WebP, 1 to 100."""
    values: Values | None = None
    """Write samples as they are stored, into a 16-bit PNG; nothing else then applies."""
    extraction: Extraction | None = None
    """Make the picture Orthanc would make; of the others only format and quality then apply."""

    def __post_init__(self) -> None:
        if self.function is not None and self.function not in FUNCTIONS:
            raise Invalid(f"unknown VOI LUT function {self.function!r}")
        if (self.center is None) != (self.width is None):
            raise Invalid("window center and width go together")
        if self.center is not None and self.width is not None:
            Window(self.center, self.width, self.function or "SIGMOID")
        if self.size is not None and not 1 <= self.size <= LONGEST_SIDE:
            raise Invalid(f"size must be between 1 and {LONGEST_SIDE}, not {self.size}")
        if self.window_index < 0:
            raise Invalid(f"there is no window {self.window_index}")
        if self.presentation not in {None, *get_args(Shape)}:
            raise Invalid(f"unknown Presentation LUT Shape {self.presentation!r}")
        if self.format not in get_args(Format):
            raise Invalid(f"pictures are not written as {self.format!r}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise Invalid(f"quality must be between 1 and 100, not {self.quality}")
        if self.values is not None and self.format != "png":
            raise Invalid("stored values are written as PNG alone")
