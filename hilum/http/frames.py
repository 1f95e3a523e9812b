"""``GET /api/dicom/studies/{study_uid}/frames/{index}``: one frame as a PNG."""

from functools import lru_cache
from typing import Final, cast, get_args
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict, MultiMapping

from hilum.core.errors import Corrupt, Invalid, NoPixelData, Undecodable, Unsupported
from hilum.core.identifiers import parse_uid
from hilum.http.parameters import boolean, number, single, whole
from hilum.http.ranges import has, not_modified, whole_or_part
from hilum.imaging.formats import MEDIA_TYPES
from hilum.imaging.grey import Function
from hilum.imaging.rendering import Rendering, Unfulfillable
from hilum.services.pictures import Located, Pictures

_PARAMETERS: Final = (
    *("center", "width", "function", "windowIndex"),
    *("invert", "size", "overlays", "values"),
)
_SIZES: Final = (16, 8192)
_LAST_INDEX: Final = 2**31 - 1
# What a frame's address shows changes when an instance of the study arrives or is
# replaced, so a browser may keep it but has to ask; being told "the same" costs it a
# round trip and the node no decoding. `private`: it is a patient's image.
_CACHING: Final = "private, no-cache"


class Frames:
    """Draws frames of studies."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.get("/api/dicom/studies/{study_uid}/frames/{index}", self._frame)]

    async def _frame(self, request: web.Request) -> web.Response:
        study_uid = parse_uid(request.match_info["study_uid"], "the study's UID")
        index = whole("the frame's index", request.match_info["index"], 0, _LAST_INDEX)
        rendering = _rendering(request.query_string)
        located = await self._pictures.locate(study_uid, index, rendering)
        etag = located.etag
        headers = {
            # A place in a study that is arriving may be another instance's by now.
            "X-SOP-Instance-UID": located.instance.identity.sop_instance_uid,
            "Cache-Control": _CACHING,
        }
        if has(request, etag):
            return not_modified(etag, headers)
        picture = self._pictures.seen(located)
        if picture is None:
            picture = await self._draw(located)
        return whole_or_part(request, picture, MEDIA_TYPES[rendering.format], etag, headers)

    async def _draw(self, located: Located) -> bytes:
        identity = located.instance.identity
        where = (
            f"instance {identity.sop_instance_uid} ({identity.instance}), "
            f"its frame {located.frame_index}"
        )
        try:
            return await self._pictures.draw(located)
        except Unfulfillable:
            raise  # another frame may have that window
        except Corrupt as error:
            # Kept as it was sent; it is the sender's pixels that are damaged.
            raise Undecodable(f"{where}: {error}") from error
        except Invalid as error:
            # The request has been checked: what is wrong is in the file.
            raise Unsupported(f"{where}: {error}") from error
        except NoPixelData as error:
            raise NoPixelData(f"{where}: {error}") from error


@lru_cache(maxsize=512)
def _rendering(query: str) -> Rendering:
    """Return what a query asks for; a client asks for many frames with the same one."""
    return parse_rendering(MultiDict(parse_qsl(query, keep_blank_values=True)))


def parse_rendering(query: MultiMapping[str]) -> Rendering:
    """Return how the parameters ask for a frame to be drawn; others are left alone.

    Raises
    ------
    Invalid
        One of them is out of range, or half a window is given.
    """
    given = single(query, _PARAMETERS)
    if ("center" in given) != ("width" in given):
        raise Invalid("center and width go together")
    width = number("width", given["width"]) if "width" in given else None
    function = _function(given["function"]) if "function" in given else None
    # PS3.3 C.11.2.1.2: below 1 the linear function, which most images use, has no meaning.
    if width is not None and width < 1 and function in {None, "LINEAR"}:
        raise Invalid("width must be 1 or more")
    if given.get("values", "stored") != "stored":
        raise Invalid("the values to be had are stored ones")
    return Rendering(
        center=number("center", given["center"]) if "center" in given else None,
        width=width,
        function=function,
        window_index=whole("windowIndex", given.get("windowIndex", "0"), 0, _LAST_INDEX),
        invert=boolean("invert", given.get("invert", "false")),
        size=whole("size", given["size"], *_SIZES) if "size" in given else None,
        overlays=boolean("overlays", given.get("overlays", "false")),
        values="stored" if "values" in given else None,
    )


def _function(text: str) -> Function:
    for function in get_args(Function):
        if function == text:
            return cast("Function", function)
    raise Invalid(f"function must be one of {', '.join(get_args(Function))}")
