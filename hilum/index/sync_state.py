"""How the last rebuilding of the index that was asked for over HTTP went, for any worker to tell.

One runs at a time. It says every few seconds that it lives: what a dead worker began may be
begun anew.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from hilum.index.database import Database
from hilum.index.faults import translated

_ID: Final = "sync"
#: Nobody has heard of it for so long: it is dead.
_DEAD: Final = timedelta(seconds=30)
RUNNING: Final = "running"


@dataclass(frozen=True, slots=True)
class SyncState:
    """Where a rebuilding stands; files are counted."""

    state: str
    """``never``, ``running``, ``done``, ``failed`` or ``interrupted``."""
    started_at: datetime | None = None
    seen_at: datetime | None = None
    """When there was last news of it; of one that is over, its end."""
    done: int = 0
    total: int = 0
    indexed: int = 0
    """The index had known nothing of them."""
    failures: int = 0
    reason: str | None = None
    """Why it failed."""


class SyncStates:
    """Keeps the state. Runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._meta = database.raw["meta"]

    async def read(self) -> SyncState:
        """Return where the last one stands."""
        with translated():
            document = await self._meta.find_one({"_id": _ID})
        if document is None:
            return SyncState("never")
        state = SyncState(**{key: document[key] for key in SyncState.__slots__})
        if state.state == RUNNING and document["seen_at"] < datetime.now(UTC) - _DEAD:
            return replace(state, state="interrupted")
        return state

    async def begin(self) -> bool:
        """Note that one begins; False if one is running."""
        now = datetime.now(UTC)
        fields = _document(SyncState(RUNNING, started_at=now, seen_at=now))
        over = {"$or": [{"state": {"$ne": RUNNING}}, {"seen_at": {"$lt": now - _DEAD}}]}
        with translated():
            try:
                await self._meta.update_one({"_id": _ID, **over}, {"$set": fields}, upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def put(self, state: SyncState) -> None:
        """Note where it stands now."""
        fields = _document(replace(state, seen_at=datetime.now(UTC)))
        with translated():
            await self._meta.update_one({"_id": _ID}, {"$set": fields})


def _document(state: SyncState) -> dict[str, Any]:
    return {key: getattr(state, key) for key in SyncState.__slots__}
