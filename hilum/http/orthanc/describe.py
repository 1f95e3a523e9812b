"""Resources as JSON: what Orthanc tells of a patient, a study, a series or an instance.

Any number is described in a fixed number of round trips (`hilum.index.resources`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from multidict import MultiMapping

from hilum.core.levels import Level
from hilum.core.main_tags import expected_number, whole
from hilum.http.orthanc.resources import NAMES
from hilum.http.orthanc.system import moment
from hilum.http.orthanc.tag_names import Form, in_form, keyword_named
from hilum.index.attached import Attached
from hilum.index.resource import Resource
from hilum.index.resources import Resources

_CHILDREN: Final = {Level.PATIENT: "Studies", Level.STUDY: "Series", Level.SERIES: "Instances"}
_PARENTS: Final = {
    Level.STUDY: "ParentPatient",
    Level.SERIES: "ParentStudy",
    Level.IMAGE: "ParentSeries",
}


class Describer:
    """Describes resources."""

    def __init__(self, resources: Resources, attached: Attached) -> None:
        self._resources = resources
        self._attached = attached

    async def one(
        self,
        level: Level,
        public_id: str,
        form: Form = Form.HUMAN,
        *,
        requested: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return what is told of one resource.

        Raises
        ------
        NotFound
            There is none.
        """
        resource = await self._resources.one(level, public_id)
        return (await self.all(level, [resource], form, requested=requested))[0]

    async def some(
        self,
        level: Level,
        ids: Sequence[str],
        form: Form = Form.HUMAN,
        *,
        requested: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return what is told of those resources that are there, in the order of `ids`."""
        resources = await self._resources.some(level, ids)
        return await self.all(level, resources, form, requested=requested)

    async def all(
        self,
        level: Level,
        resources: Sequence[Resource],
        form: Form,
        *,
        requested: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return what is told of resources of one level.

        Parameters
        ----------
        form
            How tags are named.
        requested
            Tags to tell beside the main ones, named in any way (Orthanc 1.11).
        """
        if not resources:
            return []
        ids = [resource.id for resource in resources]
        labels = await self._attached.labels(ids)
        children: Mapping[str, list[str]] = {}
        if level in _CHILDREN:
            children = await self._resources.children(level, ids)
        keywords = [keyword for name in requested if (keyword := keyword_named(name))]
        texts = await self._resources.texts(resources, keywords) if keywords else {}
        states: Mapping[str, tuple[int, str]] = {}
        if level is Level.SERIES:
            states = await self._states(resources)
        described = []
        for resource in resources:
            told: dict[str, Any] = {
                "ID": resource.id,
                "Labels": labels.get(resource.id, []),
                "MainDicomTags": in_form(resource.main, form),
                "Type": NAMES[level],
            }
            if level in _CHILDREN:
                told[_CHILDREN[level]] = children[resource.id]
                told["IsStable"] = resource.stable
                told["LastUpdate"] = moment(resource.updated_at)
            if level in _PARENTS:
                told[_PARENTS[level]] = resource.parent
            if level is Level.STUDY:
                told["PatientMainDicomTags"] = in_form(resource.patient_main, form)
            elif level is Level.SERIES:
                expected, status = states.get(resource.id, (None, "Unknown"))
                told["ExpectedNumberOfInstances"] = expected
                told["Status"] = status
            elif resource.stored is not None:
                told["FileSize"] = resource.stored.blob.size_bytes
                told["FileUuid"] = file_uuid(resource.stored.blob.digest)
                told["IndexInSeries"] = whole(index_in_series(resource.main))
            if requested:
                told["RequestedTags"] = in_form(texts.get(resource.id, {}), form)
            described.append(told)
        return described

    async def _states(self, series: Iterable[Resource]) -> dict[str, tuple[int, str]]:
        """Return of series that say how many instances they have: how many, and if they do."""
        expected = {
            each.id: number for each in series if (number := expected_number(each.main)) is not None
        }
        if not expected:
            return {}
        found = await self._resources.main_tags_below(list(expected))
        return {
            key: (number, _status(number, found.get(key, ()))) for key, number in expected.items()
        }


def form_of(query: MultiMapping[str]) -> Form:
    """Return how tags are named in an answer, as the arguments of a URL ask for."""
    if "simplify" in query:
        return Form.HUMAN
    if "short" in query:
        return Form.SHORT
    return Form.FULL if "full" in query else Form.HUMAN


def requested_of(query: MultiMapping[str]) -> list[str]:
    """Return the tags that the arguments of a URL ask for beside the main ones."""
    # As Orthanc 1.11 called it, and as later ones do.
    text = query.get("requested-tags", query.get("requestedTags", ""))
    return [name.strip() for name in text.split(";") if name.strip()]


def file_uuid(digest: str) -> str:
    """Return a UUID for a file: the first half of its SHA-256, in the groups of one."""
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def index_in_series(main: Mapping[str, str]) -> str:
    """Return an instance's place in its series, as the file has it; empty if it does not."""
    return main.get("InstanceNumber", main.get("ImageIndex", "")).strip()


def _status(expected: int, instances: Iterable[Mapping[str, str]]) -> str:
    """Return whether a series is complete, by the places of its instances."""
    places: set[int] = set()
    for main in instances:
        place = whole(index_in_series(main))
        if place is None:
            return "Unknown"
        if not 1 <= place <= expected or place in places:
            return "Inconsistent"
        places.add(place)
    return "Complete" if len(places) == expected else "Missing"
