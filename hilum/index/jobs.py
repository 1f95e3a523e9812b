"""The collection `jobs`: what is to be done with other nodes, whichever worker does it.

A job that runs has an owner, which says several times a second that it is there. When it has
not for a while, another worker takes the job over: nothing that was promised is forgotten
because a process has died.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from pymongo import ReturnDocument

from hilum.core.errors import NotFound
from hilum.index.database import Database, Document
from hilum.index.faults import translated

#: An owner that has said nothing for so long is dead.
_SILENT_MILLISECONDS: Final = 15_000


class State(StrEnum):
    """Where a job is, in Orthanc's words."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    SUCCESS = "Success"
    FAILURE = "Failure"


class Wish(StrEnum):
    """What somebody wants of a running job."""

    CANCEL = "cancel"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done, and how far it is."""

    id: str
    kind: str
    task: Mapping[str, Any]
    """What to do, as its kind understands it; JSON."""
    state: State
    priority: int
    total: int
    """Steps that it has."""
    done: int
    """Steps that are over, and of those, the ones that came to nothing."""
    failed: int
    progress: float
    """From 0 to 1."""
    attempts: int
    """How often a worker has begun with it."""
    error_code: str
    """Why it has failed (`HilumError.code`); empty: it has not."""
    error: str
    created_at: datetime
    completed_at: datetime | None
    runtime_seconds: float


class JobLedger:
    """Reads and writes; runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._jobs = database.raw["jobs"]

    async def add(self, kind: str, task: Mapping[str, Any], total: int, priority: int) -> Job:
        """Keep a new job, to be run by whoever has time."""
        document: Document = {
            "_id": str(uuid.uuid4()),
            "kind": kind,
            "task": dict(task),
            "state": State.PENDING.value,
            "priority": priority,
            "total": total,
            "done": 0,
            "failed": 0,
            "progress": 0.0,
            "attempts": 0,
            "error_code": "",
            "error": "",
            "created_at": datetime.now(UTC),
            "completed_at": None,
            "runtime_seconds": 0.0,
            "due_at": None,
            "owner": None,
            "seen_at": None,
            "wish": None,
        }
        with translated():
            await self._jobs.insert_one(document)
        return _job(document)

    async def one(self, job_id: str) -> Job:
        """Return a job.

        Raises
        ------
        NotFound
            There is none of this id, or no longer.
        """
        with translated():
            document = await self._jobs.find_one({"_id": job_id})
        if document is None:
            raise NotFound(f"no job {job_id[:36]}")
        return _job(document)

    async def state(self, job_id: str) -> State:
        """Return where a job is; of one that is not there, that it has failed."""
        with translated():
            document = await self._jobs.find_one({"_id": job_id}, {"state": 1})
        return State.FAILURE if document is None else State(document["state"])

    async def ids(self) -> list[str]:
        """Return the ids of all jobs, in order."""
        with translated():
            found = await self._jobs.find({}, {"_id": 1}).sort("_id", 1).to_list(None)
        return [each["_id"] for each in found]

    async def all(self) -> list[Job]:
        """Return all jobs by id, but for the instances of their tasks: `total` says how many."""
        with translated():
            found = self._jobs.find({}, {"task.instances": 0}).sort("_id", 1)
            return [_job(each) for each in await found.to_list(None)]

    async def claim(self, owner: str) -> Job | None:
        """Take the next job to run; None if there is none.

        What waits longest among the most urgent, or what a worker has left that died.
        """
        oldest = {"$subtract": ["$$NOW", _SILENT_MILLISECONDS]}
        with translated():
            document: Document | None = await self._jobs.find_one_and_update(
                {
                    "$or": [
                        {"state": State.PENDING.value, "due_at": _is_over(datetime.now(UTC))},
                        {
                            "state": State.RUNNING.value,
                            "$expr": {"$lt": ["$seen_at", oldest]},
                        },
                    ]
                },
                [
                    {
                        "$set": {
                            "state": State.RUNNING.value,
                            "owner": owner,
                            "seen_at": "$$NOW",
                            "attempts": {"$add": ["$attempts", 1]},
                        }
                    }
                ],
                sort=[("priority", -1), ("created_at", 1)],
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else _job(document)

    async def report(
        self, job: Job, owner: str, done: int, failed: int, progress: float, runtime: float
    ) -> tuple[bool, Wish | None]:
        """Say that a job is being worked on, and how far it is.

        Returns
        -------
        owned, wish
            Whether the job is still the caller's, and what is wanted of it.
        """
        with translated():
            document: Document | None = await self._jobs.find_one_and_update(
                {"_id": job.id, "owner": owner, "state": State.RUNNING.value},
                [
                    {
                        "$set": {
                            "seen_at": "$$NOW",
                            "done": done,
                            "failed": failed,
                            "progress": progress,
                            "runtime_seconds": runtime,
                        }
                    }
                ],
                projection={"wish": 1},
            )
        if document is None:
            return False, None
        return True, Wish(document["wish"]) if document["wish"] else None

    async def end(
        self, job: Job, owner: str, state: State, error_code: str = "", error: str = ""
    ) -> None:
        """Say what has become of a job that its owner works on no longer."""
        over = state in {State.SUCCESS, State.FAILURE}
        changes: Document = {
            "state": state.value,
            "owner": None,
            "wish": None,
            "error_code": error_code,
            "error": error,
            "completed_at": datetime.now(UTC) if over else None,
        }
        if state is State.SUCCESS:
            changes["progress"] = 1.0
        with translated():
            await self._jobs.update_one({"_id": job.id, "owner": owner}, {"$set": changes})

    async def postpone(self, job: Job, owner: str, due_at: datetime, reason: str) -> None:
        """Have a job that its owner works on wait, and say why."""
        changes: Document = {
            "state": State.PENDING.value,
            "owner": None,
            "due_at": due_at,
            "error": reason,
            "attempts": 0,  # nobody has died over it
        }
        with translated():
            await self._jobs.update_one({"_id": job.id, "owner": owner}, {"$set": changes})

    async def hold_back(self, kind: str, peer: Mapping[str, Any], due_at: datetime) -> None:
        """Have the jobs of a kind that wait, and are about the same peer, wait at least till then.

        Parameters
        ----------
        peer
            As their tasks have it: ``call.peer``.
        """
        waiting = {"state": State.PENDING.value, "kind": kind, "task.call.peer": dict(peer)}
        with translated():
            await self._jobs.update_many(waiting, {"$max": {"due_at": due_at}})

    async def cancel(self, job_id: str, error_code: str, error: str) -> bool:
        """Have a job end; return whether there is one. One that is over stays as it is."""
        over = {
            "state": State.FAILURE.value,
            "error_code": error_code,
            "error": error,
            "completed_at": datetime.now(UTC),
        }
        idle = [State.PENDING, State.PAUSED]
        return await self._wish(job_id, Wish.CANCEL) or await self._change(job_id, idle, over)

    async def pause(self, job_id: str) -> bool:
        """Have a job wait; return whether there is one. One that is over stays as it is."""
        paused = {"state": State.PAUSED.value}
        return await self._wish(job_id, Wish.PAUSE) or await self._change(
            job_id, [State.PENDING], paused
        )

    async def restart(self, job_id: str, state: State) -> bool:
        """Have a job that is in `state` run again; return whether there is one."""
        again = {
            "state": State.PENDING.value,
            "error_code": "",
            "error": "",
            "completed_at": None,
            "due_at": None,
            "attempts": 0,
        }
        with translated():
            changed = await self._jobs.update_one(
                {"_id": job_id, "state": state.value}, {"$set": again}
            )
        return changed.matched_count > 0

    async def forget(self, job_id: str) -> None:
        """Forget a job that is over.

        Raises
        ------
        NotFound
            There is none of this id that is.
        """
        over = {"$in": [State.SUCCESS.value, State.FAILURE.value]}
        with translated():
            forgotten = await self._jobs.delete_one({"_id": job_id, "state": over})
        if not forgotten.deleted_count:
            raise NotFound(f"no job {job_id[:36]} that is over")

    async def _wish(self, job_id: str, wish: Wish) -> bool:
        with translated():
            changed = await self._jobs.update_one(
                {"_id": job_id, "state": State.RUNNING.value}, {"$set": {"wish": wish.value}}
            )
        return changed.matched_count > 0

    async def _change(self, job_id: str, states: list[State], changes: Document) -> bool:
        with translated():
            changed = await self._jobs.update_one(
                {"_id": job_id, "state": {"$in": [state.value for state in states]}},
                {"$set": changes},
            )
            if changed.matched_count:
                return True
            return await self._jobs.find_one({"_id": job_id}, {"_id": 1}) is not None


def _is_over(now: datetime) -> Document:
    """Return the condition on a time that is null, missing, or in the past."""
    return {"$not": {"$gt": now}}


def _job(document: Document) -> Job:
    return Job(
        id=document["_id"],
        kind=document["kind"],
        task=document["task"],
        state=State(document["state"]),
        priority=document["priority"],
        total=document["total"],
        done=document["done"],
        failed=document["failed"],
        progress=document["progress"],
        attempts=document["attempts"],
        error_code=document["error_code"],
        error=document["error"],
        created_at=document["created_at"],
        completed_at=document["completed_at"],
        runtime_seconds=document["runtime_seconds"],
    )
