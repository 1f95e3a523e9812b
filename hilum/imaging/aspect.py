"""The shape of a frame's pixels: real ones are not always square (PS3.3 C.7.6.3.1.7)."""

import math
from typing import Final

from hilum.core.levels import tag_of
from hilum.imaging.elements import Elements

_RATIO, _SPACING, _IMAGER_SPACING, _SCANNED_SPACING, _SHARED, _MEASURES = map(
    tag_of,
    (
        "PixelAspectRatio",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "SharedFunctionalGroupsSequence",
        "PixelMeasuresSequence",
    ),
)
#: In order of precedence: what was calibrated, then what was nominal, then the bare ratio.
_PAIRS: Final = (_SPACING, _IMAGER_SPACING, _SCANNED_SPACING, _RATIO)
#: Beyond this a pixel is a typing error; drawn as told it would be a line.
_LARGEST: Final = 32.0

#: What `pixel_aspect` reads of a header.
ASPECT_TAGS: Final = frozenset({*_PAIRS, _SHARED})


def pixel_aspect(header: Elements) -> float:
    """Return the height of a pixel divided by its width; 1 where nothing sensible is said.

    Parameters
    ----------
    header
        The elements of the data set that have `ASPECT_TAGS`.
    """
    sources = [header]
    for group in header.items(_SHARED, frozenset({_MEASURES}))[:1]:
        sources += group.items(_MEASURES, frozenset({_SPACING}))[:1]
    for tag in _PAIRS:
        for source in sources:
            # Vertical first, in spacings (row spacing) as in ratios.
            if (pair := source.decimals(tag)) and (aspect := _sensible(pair)):
                return aspect
    return 1.0


def _sensible(pair: tuple[float, ...]) -> float | None:
    if len(pair) != 2 or not all(math.isfinite(value) and value > 0 for value in pair):
        return None
    aspect = pair[0] / pair[1]
    return aspect if 1 / _LARGEST <= aspect <= _LARGEST else None
