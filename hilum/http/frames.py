"""``GET /api/dicom/studies/{study_uid}/frames/{index}``: one frame as a PNG."""

from typing import Final

from aiohttp import ETag, web
from multidict import MultiMapping

from hilum.core.errors import Corrupt, Invalid, NoPixelData, Undecodable, Unsupported
from hilum.core.identifiers import parse_uid
from hilum.http.parameters import boolean, number, single, whole
from hilum.imaging.render import Rendering
from hilum.services.pictures import Located, Pictures

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
        rendering = parse_rendering(request.query)
        located = await self._pictures.locate(study_uid, index, rendering)
        if _has(request, located.etag):
            response = web.Response(status=304)
        else:
            png = await self._draw(located)
            response = web.Response(body=png, content_type="image/png")
        response.etag = located.etag
        # A place in a study that is arriving may be another instance's by now.
        response.headers["X-SOP-Instance-UID"] = located.instance.identity.sop_instance_uid
        response.headers["Cache-Control"] = _CACHING
        return response

    async def _draw(self, located: Located) -> bytes:
        identity = located.instance.identity
        where = (
            f"instance {identity.sop_instance_uid} ({identity.instance}), "
            f"its frame {located.frame_index}"
        )
        try:
            return await self._pictures.draw(located)
        except Corrupt as error:
            # Kept as it was sent; it is the sender's pixels that are damaged.
            raise Undecodable(f"{where}: {error}") from error
        except Invalid as error:
            # The request has been checked: what is wrong is in the file.
            raise Unsupported(f"{where}: {error}") from error
        except NoPixelData as error:
            raise NoPixelData(f"{where}: {error}") from error


def parse_rendering(query: MultiMapping[str]) -> Rendering:
    """Return how the parameters ask for a frame to be drawn; others are left alone.

    Raises
    ------
    Invalid
        One of them is out of range, or half a window is given.
    """
    given = single(query, ("center", "width", "invert", "size"))
    if ("center" in given) != ("width" in given):
        raise Invalid("center and width go together")
    width = number("width", given["width"]) if "width" in given else None
    # PS3.3 C.11.2.1.2: below 1 the linear function, which most images use, has no meaning.
    if width is not None and width < 1:
        raise Invalid("width must be 1 or more")
    return Rendering(
        center=number("center", given["center"]) if "center" in given else None,
        width=width,
        invert=boolean("invert", given.get("invert", "false")),
        size=whole("size", given["size"], *_SIZES) if "size" in given else None,
    )


def _has(request: web.Request, etag: str) -> bool:
    """Return whether the client has the picture already (RFC 9110 13.1.2, weak comparison)."""
    known: tuple[ETag, ...] = request.if_none_match or ()
    return any(tag.value in (etag, "*") for tag in known)
