"""Events as the Lua scripts of an Orthanc post them: what its callbacks are given, as JSON.

``OnStoredInstance(instanceId, tags, metadata, origin)`` and ``OnStableStudy(studyId, tags,
metadata)``: the arguments under their names, beside what its REST API tells of the resource.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from hilum.core.events import Event
from hilum.core.levels import Level
from hilum.http.orthanc.describe import Describer, index_in_series
from hilum.http.orthanc.system import moment
from hilum.http.orthanc.tag_names import Form
from hilum.index.resource import Resource
from hilum.index.resources import Resources
from hilum.services.contents import Contents

#: Sources that are no AE titles (`hilum.core.instance.Origin`), as Orthanc calls them.
_ORIGINS: Final = {
    "http": "RestApi",
    "import": "Plugins",
    "migration": "Plugins",
    "unknown": "Unknown",
}


class OrthancForms:
    """Makes bodies of events. Runs on the loop.

    Every form raises `NotFound` if what it tells of is not there any more.
    """

    def __init__(self, resources: Resources, contents: Contents, describer: Describer) -> None:
        self._resources = resources
        self._contents = contents
        self._describer = describer

    async def stored_instance(self, event: Event) -> bytes:
        """Return what ``OnStoredInstance`` is given."""
        resource = await self._resources.one(Level.IMAGE, event.resource)
        assert resource.stored is not None
        tags = await self._contents.tags(resource.stored, "simple")
        (described,) = await self._describer.all(Level.IMAGE, [resource], Form.HUMAN)
        origin = _origin(event.details.get("origin", {}))
        return orjson.dumps(
            {
                **described,
                "ParentStudy": resource.study,
                "ParentPatient": resource.patient,
                "instanceId": resource.id,
                # As in Lua, what has no value that could be shown is not there.
                "tags": {name: value for name, value in tags.items() if value is not None},
                "metadata": _metadata(resource, origin),
                "origin": origin,
            }
        )

    async def stable_study(self, event: Event) -> bytes:
        """Return what ``OnStableStudy`` is given."""
        resource = await self._resources.one(Level.STUDY, event.resource)
        (described,) = await self._describer.all(Level.STUDY, [resource], Form.HUMAN)
        return orjson.dumps(
            {
                **described,
                "studyId": resource.id,
                "tags": resource.main,
                "metadata": {"LastUpdate": moment(resource.updated_at)},
            }
        )


def _origin(told: Mapping[str, Any]) -> dict[str, str]:
    source = told.get("source", "unknown")
    address = told.get("remote_address", "")
    if source in _ORIGINS:
        return {"RequestOrigin": _ORIGINS[source], "RemoteIp": address, "Username": ""}
    return {
        "RequestOrigin": "DicomProtocol",
        "RemoteIp": address,
        "RemoteAet": source,
        "CalledAet": told.get("called_ae_title", ""),
    }


def _metadata(resource: Resource, origin: Mapping[str, str]) -> dict[str, str]:
    assert resource.stored is not None
    metadata = {
        "ReceptionDate": moment(resource.received_at),
        "Origin": origin["RequestOrigin"],
        "RemoteIP": origin["RemoteIp"],
        "RemoteAET": origin.get("RemoteAet", ""),
        "SopClassUid": resource.stored.sop_class_uid,
        "TransferSyntax": resource.stored.transfer_syntax_uid,
    }
    if "CalledAet" in origin:
        metadata["CalledAET"] = origin["CalledAet"]
    else:
        metadata["HttpUsername"] = origin["Username"]
    if number := index_in_series(resource.main):
        metadata["IndexInSeries"] = number
    return metadata
