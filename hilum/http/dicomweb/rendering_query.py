"""Query parameters of rendered resources, read as a `Rendering` (PS3.18 8.3.5.1)."""

from dataclasses import dataclass
from typing import Final

from multidict import MultiMapping

from hilum.core.errors import Invalid
from hilum.http.parameters import boolean, number, single, whole
from hilum.imaging.grey import Function
from hilum.imaging.rendering import LONGEST_SIDE, Format, Rendering, Shape, Viewport

_FUNCTIONS: Final[dict[str, Function]] = {
    "linear": "LINEAR",
    "linear-exact": "LINEAR_EXACT",
    "sigmoid": "SIGMOID",
}
#: Parameters that are not the standard's.
_OWN: Final = ("overlays", "presentation", "windowindex")
_SHAPES: Final[dict[str, Shape]] = {"identity": "IDENTITY", "inverse": "INVERSE"}
_LAST_WINDOW: Final = 255
_ANNOTATIONS: Final = frozenset({"patient", "technique"})
_PROFILES: Final = frozenset({"no", "yes", "srgb", "adobergb", "rommrgb", "displayp3"})


@dataclass(frozen=True, slots=True)
class RenderingQuery:
    """What a client asks of a rendered resource, and what of it is not done."""

    rendering: Rendering
    ignored: tuple[str, ...] = ()
    """Parameters that are well formed and have no effect here: worth a Warning."""


def parse_rendering_query(
    parameters: MultiMapping[str], kind: Format, *, default: Viewport | None = None
) -> RenderingQuery:
    """Return what the parameters ask for; those of other services are left alone.

    Parameters
    ----------
    kind
        The format that was negotiated.
    default
        The viewport if none is given: thumbnails have one.

    Raises
    ------
    Invalid
        A value is malformed or out of range.
    """
    names = ("window", "viewport", "quality", "annotation", "iccprofile")
    given = single(parameters, (*names, *_OWN))
    center, width, function = _window(given["window"]) if "window" in given else (None, None, None)
    ignored = []
    if "annotation" in given:
        _one_of("annotation", given["annotation"], _ANNOTATIONS)
        ignored.append("annotation")
    if "iccprofile" in given and _one_of("iccprofile", given["iccprofile"], _PROFILES) != ["no"]:
        ignored.append("iccprofile")
    quality = whole("quality", given["quality"], 1, 100) if "quality" in given else None
    rendering = Rendering(
        center=center,
        width=width,
        function=function,
        window_index=whole("windowindex", given.get("windowindex", "0"), 0, _LAST_WINDOW),
        viewport=parse_viewport(given["viewport"]) if "viewport" in given else default,
        overlays=boolean("overlays", given.get("overlays", "false")),
        presentation=_shape(given["presentation"]) if "presentation" in given else None,
        format=kind,
        # A PNG is lossless: pictures that do not differ should not have two addresses.
        quality=None if kind == "png" else quality,
    )
    return RenderingQuery(rendering, tuple(ignored))


def _window(text: str) -> tuple[float, float, Function | None]:
    """Return center, width and function; a window without a function is the file's own kind."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in {2, 3}:
        raise Invalid("window must be center,width,function")
    function = None
    if len(parts) == 3:
        function = _FUNCTIONS.get(parts[2].lower())
        if function is None:
            raise Invalid(f"the window's function must be one of {', '.join(_FUNCTIONS)}")
    return number("the window's center", parts[0]), number("the window's width", parts[1]), function


def parse_viewport(text: str) -> Viewport:
    """Return the viewport ``vw,vh[,sx,sy,sw,sh]``, of which the last four may be empty.

    Raises
    ------
    Invalid
        It is none (PS3.18 8.3.5.1.3).
    """
    parts = [part.strip() for part in text.split(",")]
    if not 2 <= len(parts) <= 6:
        raise Invalid("viewport must be vw,vh or vw,vh,sx,sy,sw,sh")
    columns, rows, *region = parts + [""] * (6 - len(parts))
    left, top, width, height = (
        number("the viewport's region", part) if part else None for part in region
    )
    return Viewport(
        columns=whole("the viewport's width", columns, 1, LONGEST_SIDE),
        rows=whole("the viewport's height", rows, 1, LONGEST_SIDE),
        left=left or 0.0,
        top=top or 0.0,
        width=width,
        height=height,
    )


def _shape(text: str) -> Shape:
    shape = _SHAPES.get(text.lower())
    if shape is None:
        raise Invalid(f"presentation must be one of {', '.join(_SHAPES)}")
    return shape


def _one_of(name: str, text: str, allowed: frozenset[str]) -> list[str]:
    values = [value.strip().lower() for value in text.split(",")]
    if not allowed.issuperset(values):
        raise Invalid(f"{name} must be one of {', '.join(sorted(allowed))}")
    return values
