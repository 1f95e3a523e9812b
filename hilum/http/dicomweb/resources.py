"""What a path of DICOMweb names: a study, a series of it, an instance of that (PS3.18 10.1.1)."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from hilum.core.identifiers import parse_uid
from hilum.http.dicomweb.urls import SERVICE_PATH
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

STUDY: Final = SERVICE_PATH + "/studies/{study_uid}"
SERIES: Final = STUDY + "/series/{series_uid}"
INSTANCE: Final = SERIES + "/instances/{instance_uid}"
FRAMES: Final = INSTANCE + "/frames/{frames}"

_KEYWORDS: Final = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "instance_uid": "SOPInstanceUID",
}


def uids_of(request: web.Request) -> dict[str, str]:
    """Return the UIDs that the path of a request names, that of the study first.

    Returns
    -------
    dict
        By the names they have in the path, for logs; in order, for `Retrieve.resource`.

    Raises
    ------
    Invalid
        One of them is none.
    """
    return {
        name: parse_uid(request.match_info[name], keyword)
        for name, keyword in _KEYWORDS.items()
        if name in request.match_info
    }


async def resource(retrieve: Retrieve, request: web.Request) -> Sequence[StoredInstance]:
    """Return the instances below the study, series or instance that a path names.

    Raises
    ------
    Invalid
        A UID of it is none.
    NotFound
        There is no such resource.
    IndexUnavailable
        MongoDB does not answer.
    """
    return await retrieve.resource(*uids_of(request).values())
