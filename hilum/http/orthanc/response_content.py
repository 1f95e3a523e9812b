"""``ResponseContent`` of ``/tools/find`` (Orthanc 1.12.5): no more than is asked for."""

from collections.abc import Sequence
from typing import Any, Final

from hilum.core.levels import Level
from hilum.http.orthanc.bodies import strings
from hilum.http.orthanc.describe import Describer
from hilum.http.orthanc.errors import BAD_REQUEST, OUT_OF_RANGE, Refusal
from hilum.http.orthanc.metadata import metadata_of, texts
from hilum.http.orthanc.own_attachments import OwnAttachments
from hilum.http.orthanc.own_names import OwnNames
from hilum.http.orthanc.tag_names import Form
from hilum.index.attached import Attached
from hilum.index.resource import Resource
from hilum.index.resources import Resources
from hilum.services.protection import Protection

_FIELDS: Final = {
    "Attachments": ("Attachments",),
    "Children": ("Studies", "Series", "Instances"),
    "IsProtected": ("IsProtected",),
    "IsStable": ("IsStable",),
    "Labels": ("Labels",),
    "MainDicomTags": ("MainDicomTags", "PatientMainDicomTags"),
    "Metadata": ("Metadata",),
    "Parent": ("ParentPatient", "ParentStudy", "ParentSeries"),
    "RequestedTags": ("RequestedTags",),
    "Status": ("Status",),
}
_ALWAYS: Final = frozenset({"ID", "Type"})


def content_of(body: dict[str, Any]) -> frozenset[str]:
    """Return what a body wants to be told.

    Raises
    ------
    Refusal
        There is no such thing.
    """
    if not isinstance(body["ResponseContent"], list):
        raise Refusal(BAD_REQUEST, 'Field "ResponseContent" must be an array')
    wanted = strings(body, "ResponseContent")
    for each in wanted:
        if each not in _FIELDS:
            raise Refusal(OUT_OF_RANGE, f'Unrecognized value for "ResponseContent": {each[:64]}')
    return frozenset(wanted)


class ResponseContent:
    """Tells of resources what is asked for."""

    def __init__(
        self,
        resources: Resources,
        attached: Attached,
        describer: Describer,
        attachments: OwnAttachments,
        protection: Protection,
        names: OwnNames,
    ) -> None:
        self._resources = resources
        self._attached = attached
        self._describer = describer
        self._attachments = attachments
        self._protection = protection
        self._names = names

    async def some(
        self,
        level: Level,
        wanted: frozenset[str],
        form: Form,
        requested: Sequence[str],
        ids: Sequence[str],
    ) -> list[dict[str, Any]]:
        """Return what is wanted of those resources that are there, in the order of `ids`."""
        resources = await self._resources.some(level, ids)
        described = await self._describer.all(level, resources, form, requested=requested)
        fields = _ALWAYS.union(*(_FIELDS[each] for each in wanted))
        if requested:
            fields |= {"RequestedTags"}
        told = [{name: each[name] for name in each if name in fields} for each in described]
        await self._add(level, wanted, resources, told)
        return told

    async def _add(
        self,
        level: Level,
        wanted: frozenset[str],
        resources: Sequence[Resource],
        told: Sequence[dict[str, Any]],
    ) -> None:
        """Add what is not told of them otherwise."""
        if "Metadata" in wanted:
            metadata = await metadata_of(self._attached, resources)
            for each in told:
                each["Metadata"] = texts(metadata[each["ID"]], self._names)
        if "Attachments" in wanted:
            attachments = await self._attachments.told_of(resources)
            for each in told:
                each["Attachments"] = attachments[each["ID"]]
        if "IsProtected" in wanted and level is Level.PATIENT:
            protected = await self._protection.among([each.id for each in resources])
            for each in told:
                each["IsProtected"] = each["ID"] in protected
