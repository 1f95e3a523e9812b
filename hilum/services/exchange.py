"""The jobs that send to other nodes, and that have other nodes send (C-STORE, C-MOVE, C-GET).

A task says what is wanted in JSON, because any worker may have to do it, now or after a
restart. Peers are written into it as they were when it was asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from hilum.core.errors import NotFound
from hilum.core.instance import Attributes
from hilum.core.levels import Level, json_tag
from hilum.core.peer import Originator, Peer
from hilum.index.jobs import Job
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance
from hilum.services.dimse import Call, Dimse, in_thread
from hilum.services.jobs import Control

STORE: Final = "DicomModalityStore"
MOVE: Final = "DicomMoveScu"
GET: Final = "DicomGetScu"
#: Instances whose documents are read at a time.
_AT_ONCE: Final = 1000


def call_json(call: Call) -> dict[str, Any]:
    """Return a call as a task keeps it."""
    return {
        "peer": asdict(call.peer),
        "calling_ae_title": call.calling_ae_title,
        "timeout_seconds": call.timeout_seconds,
    }


def call_of(task: Mapping[str, Any]) -> Call:
    """Return the call that a task keeps."""
    call = task["call"]
    return Call(Peer(**call["peer"]), call["calling_ae_title"], call["timeout_seconds"])


def move_keys(level: Level, answer: Attributes) -> Attributes:
    """Return the unique keys that name what an answer is about, as a C-MOVE wants them."""
    return {
        tag: answer[tag]
        for tag in (json_tag(each.unique_key) for each in level.with_above)
        if answer.get(tag, {}).get("Value")
    }


class Exchange:
    """Does the work of all three kinds."""

    def __init__(self, dimse: Dimse, resources: Resources) -> None:
        self._dimse = dimse
        self._resources = resources

    async def store(self, job: Job, control: Control) -> None:
        """Send the instances of a task, from the first one that was not sent.

        Raises
        ------
        HilumError
            One was not taken, unless the task is permissive; none is, then, behind it.
        """
        ids: Sequence[str] = job.task["instances"]
        for start in range(control.done, len(ids), _AT_ONCE):
            await self._store_some(job, control, ids[start : start + _AT_ONCE])

    async def _store_some(self, job: Job, control: Control, ids: Sequence[str]) -> None:
        found = await self._resources.some(Level.IMAGE, ids)
        instances = [each.stored for each in found if each.stored is not None]
        gone = len(ids) - len(instances)
        if gone and not job.task["permissive"]:
            raise NotFound(f"{gone} of the instances to be sent have been deleted")
        originator = Originator(**job.task["originator"]) if job.task["originator"] else None
        call = call_of(job.task)

        def send() -> None:
            self._send(call, instances, originator, control, permissive=job.task["permissive"])

        await in_thread(send)
        control.failed += gone
        control.done += gone

    def _send(
        self,
        call: Call,
        instances: Sequence[StoredInstance],
        originator: Originator | None,
        control: Control,
        *,
        permissive: bool,
    ) -> None:
        control.check()
        for delivered in self._dimse.store(call, instances, originator):
            if delivered.error is not None:
                if not permissive:
                    raise delivered.error
                control.failed += 1
            control.done += 1
            control.check()

    async def move(self, job: Job, control: Control) -> None:
        """Have what a task names sent elsewhere, one C-MOVE each, from the first that was not.

        Raises
        ------
        PeerUnreachable, PeerRefused
            One was not, or not all of it.
        """
        call, destination = call_of(job.task), job.task["destination"]
        level, report = Level(job.task["level"]), partial(setattr, control, "part")

        def order(keys: Attributes) -> None:
            self._dimse.move(call, level, keys, destination, report, lambda: control.stopping)

        await _one_by_one(job, control, order)

    async def get(self, job: Job, control: Control) -> None:
        """Have what a task names sent here, one C-GET each, from the first that was not.

        Raises
        ------
        PeerUnreachable, PeerRefused
            One was not, or not all of it.
        """
        call, level = call_of(job.task), Level(job.task["level"])
        report = partial(setattr, control, "part")

        def order(keys: Attributes) -> None:
            self._dimse.get(call, level, keys, report, lambda: control.stopping)

        await _one_by_one(job, control, order)


async def _one_by_one(job: Job, control: Control, order: Callable[[Attributes], None]) -> None:
    def work() -> None:
        for keys in job.task["keys"][control.done :]:
            control.check()
            order(keys)
            control.check()
            control.part = 0.0
            control.done += 1

    await in_thread(work)
