"""A job in Orthanc's JSON, and its content: what it has to do, and how far that is."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hilum.http.orthanc.errors import number_of, words_of
from hilum.index.jobs import Job, State
from hilum.services.archives import ARCHIVE, MEDIA
from hilum.services.commitment import COMMITMENT
from hilum.services.exchange import GET, MOVE, STORE
from hilum.services.jobs import error_of

_DESCRIPTION: Final = "REST API"
_MEGABYTE: Final = 1 << 20


def job_json(job: Job) -> dict[str, Any]:
    """Return all that is told of a job."""
    failed = job.state is State.FAILURE
    number = number_of(error_of(job)) if failed else 0
    over = {"CompletionTime": _moment(job.completed_at)} if job.completed_at else {}
    return {
        **over,
        "Content": content_json(job),
        "CreationTime": _moment(job.created_at),
        "EffectiveRuntime": round(job.runtime_seconds, 3),
        "ErrorCode": number,
        "ErrorDescription": words_of(number),
        "ErrorDetails": job.error if failed else "",
        "ID": job.id,
        "Priority": job.priority,
        "Progress": int(100 * job.progress),
        "State": job.state.value,
        "Timestamp": _moment(datetime.now(UTC)),
        "Type": job.kind,
    }


def content_json(job: Job) -> dict[str, Any]:
    """Return what a job does, which is also what who waits for it is answered."""
    return {"Description": _DESCRIPTION, **_CONTENTS[job.kind](job)}


def _between(job: Job) -> dict[str, Any]:
    return {
        "LocalAet": job.task["call"]["calling_ae_title"],
        "RemoteAet": job.task["call"]["peer"]["ae_title"],
    }


def _archive(job: Job) -> dict[str, Any]:
    archive, files = job.task["archive_bytes"], job.task["file_bytes"]
    return {
        "ArchiveSize": str(archive),
        "ArchiveSizeMB": archive // _MEGABYTE,
        "InstancesCount": job.total,
        "UncompressedSize": str(files),
        "UncompressedSizeMB": files // _MEGABYTE,
    }


def _store(job: Job) -> dict[str, Any]:
    task: Mapping[str, Any] = job.task
    content: dict[str, Any] = {
        **_between(job),
        "FailedInstancesCount": job.failed,
        "InstancesCount": job.total,
    }
    if task["resources"]:
        content["ParentResources"] = list(task["resources"])
    if task["originator"]:
        content["MoveOriginatorAET"] = task["originator"]["ae_title"]
        content["MoveOriginatorID"] = task["originator"]["message_id"]
    return content


def _move(job: Job) -> dict[str, Any]:
    return {"TargetAet": job.task["destination"], **_get(job)}


def _get(job: Job) -> dict[str, Any]:
    return {**_between(job), "Query": list(job.task["told"])}


def _commitment(job: Job) -> dict[str, Any]:
    return {
        "CalledAet": job.task["call"]["calling_ae_title"],
        "RemoteAet": job.task["call"]["peer"]["ae_title"],
        "TransactionUid": job.task["transaction_uid"],
    }


_CONTENTS: Final[Mapping[str, Callable[[Job], dict[str, Any]]]] = {
    STORE: _store,
    MOVE: _move,
    GET: _get,
    ARCHIVE: _archive,
    MEDIA: _archive,
    COMMITMENT: _commitment,
}


def _moment(at: datetime) -> str:
    """Return a moment to the microsecond."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"
