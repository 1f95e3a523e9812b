"""Resources as Orthanc's paths name them: levels by their plurals, and the id in the path."""

from typing import Final

from aiohttp import web

from hilum.core.levels import Level

#: First part of a path, by level.
PLURALS: Final = {
    Level.PATIENT: "patients",
    Level.STUDY: "studies",
    Level.SERIES: "series",
    Level.IMAGE: "instances",
}
#: As ``Type`` and ``Level`` say it.
NAMES: Final = {
    Level.PATIENT: "Patient",
    Level.STUDY: "Study",
    Level.SERIES: "Series",
    Level.IMAGE: "Instance",
}
LEVELS: Final = {plural: level for level, plural in PLURALS.items()}
#: Pattern of the path to all resources of a level.
LISTS: Final = f"/{{level:{'|'.join(LEVELS)}}}"


def path_of(*levels: Level, below: str = "") -> str:
    """Return the pattern of a route to a resource of any of these levels, or below it.

    ``path_of(Level.STUDY, below="/series")`` is ``/studies/{id}/series``; of all levels it is
    one route, ``/{level}/{id}/…``. Make routes with it, so that `level_of` and `id_of`
    understand their requests.
    """
    if len(levels) == 1:
        return f"/{PLURALS[levels[0]]}/{{id}}{below}"
    plurals = "|".join(PLURALS[level] for level in levels or Level)
    return f"/{{level:{plurals}}}/{{id}}{below}"


def level_of(request: web.Request) -> Level:
    """Return the level of the resource that the path names."""
    return LEVELS[request.path.split("/", 2)[1]]


def id_of(request: web.Request) -> str:
    """Return the public id in the path."""
    return request.match_info["id"]
