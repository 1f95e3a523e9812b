"""``/series/{id}/ordered-slices``: the frames of a series from one end of the body to the other.

If there are several images, in parallel planes, no two in the same, they are a volume, in the
order of their planes (PS3.3 C.7.6.2.1.1). Else they are a sequence, in the order of their numbers.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isclose, sqrt
from typing import Final, TypeAlias

from aiohttp import web

from hilum.core.levels import Level
from hilum.http.orthanc.resources import id_of, path_of
from hilum.http.orthanc.styled import json_answer
from hilum.index.resource import Resource
from hilum.index.resources import Resources

Vector: TypeAlias = tuple[float, float, float]

#: So much two normals of unit length may differ and still be the same.
_TOLERANCE: Final = 1e-4
#: Planes nearer to each other than this are one, in mm.
_SAME_PLANE_MM: Final = 1e-6


class SliceRoutes:
    """Orders the slices of a series."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get(path_of(Level.SERIES, below="/ordered-slices"), self._ordered)]

    async def _ordered(self, request: web.Request) -> web.Response:
        series = await self._resources.one(Level.SERIES, id_of(request))
        ids = (await self._resources.children(Level.SERIES, [series.id]))[series.id]
        # As they come they are in the order of their numbers.
        instances = await self._resources.some(Level.IMAGE, ids)
        volume = as_volume(instances)
        slices = [(each.id, _frames(each)) for each in volume or instances]
        return json_answer(
            {
                "Dicom": [f"/instances/{key}/file" for key, _ in slices],
                "Slices": [
                    f"/instances/{key}/frames/{frame}"
                    for key, frames in slices
                    for frame in range(frames)
                ],
                "SlicesShort": [[key, 0, frames] for key, frames in slices],
                "Type": "Volume" if volume else "Sequence",
            }
        )


def as_volume(instances: Sequence[Resource]) -> list[Resource] | None:
    """Return the instances in the order of their planes; None if they are no volume."""
    if len(instances) < 2:
        return None
    placed = []
    normal: Vector | None = None
    for instance in instances:
        position = _numbers(instance, "ImagePositionPatient", 3)
        own = _normal(_numbers(instance, "ImageOrientationPatient", 6))
        if position is None or own is None or _frames(instance) != 1:
            return None
        normal = normal or own
        if not all(isclose(a, b, abs_tol=_TOLERANCE) for a, b in zip(own, normal, strict=True)):
            return None
        distance = sum(a * b for a, b in zip(normal, position, strict=True))
        placed.append((distance, instance))
    placed.sort(key=lambda each: each[0])
    for (before, _), (behind, _) in pairwise(placed):
        if behind - before < _SAME_PLANE_MM:
            return None
    return [instance for _, instance in placed]


def _normal(orientation: Sequence[float] | None) -> Vector | None:
    """Return the vector of unit length that rows and columns are perpendicular to."""
    if orientation is None:
        return None
    rx, ry, rz, cx, cy, cz = orientation
    x, y, z = ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx
    length = sqrt(x * x + y * y + z * z)
    return (x / length, y / length, z / length) if length > _TOLERANCE else None


def _numbers(instance: Resource, keyword: str, count: int) -> list[float] | None:
    try:
        numbers = [float(text) for text in instance.main.get(keyword, "").split("\\")]
    except ValueError:
        return None
    return numbers if len(numbers) == count else None


def _frames(instance: Resource) -> int:
    return instance.stored.number_of_frames if instance.stored is not None else 0
