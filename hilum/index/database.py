"""The connection to MongoDB and the three collections everything else is built on."""

from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError

from hilum.core.errors import Invalid
from hilum.core.levels import Level
from hilum.index import schema
from hilum.index.changes import Changes
from hilum.index.faults import translated

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection, AsyncIOMotorDatabase

Document: TypeAlias = dict[str, Any]

# A server that is not there will not be there in ten seconds either, and somebody waits.
_SELECTION_MILLISECONDS: Final = 3000


class Database:
    """A MongoDB database, reached through one pool of connections.

    Every write is acknowledged by a majority and journaled: what it answered survives a
    power cut. Every call ends within the time limit, with `IndexUnavailable` at the latest.
    Belongs to the event loop it is made on.

    Parameters
    ----------
    uri
        A MongoDB connection string.
    name
        Name of the database.
    timeout_seconds
        For one operation, finding and reaching a server included.
    changes
        Shared by all who write to it. Without it what was read is never taken as true for
        long enough to be of use a second time.
    """

    def __init__(
        self,
        uri: str,
        name: str = "hilum",
        *,
        timeout_seconds: float = 10.0,
        changes: Changes | None = None,
    ) -> None:
        milliseconds = int(timeout_seconds * 1000)
        try:
            self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
                uri,
                w="majority",
                journal=True,
                retryWrites=True,
                tz_aware=True,
                appname="hilum",
                serverSelectionTimeoutMS=min(milliseconds, _SELECTION_MILLISECONDS),
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
            )
            self._database: AsyncIOMotorDatabase[Document] = self._client[name]
        except (PyMongoError, ValueError) as error:
            raise Invalid(f"the MongoDB URI is wrong: {type(error).__name__}") from error
        self.studies = self._database["studies"]
        self.series = self._database["series"]
        self.instances = self._database["instances"]
        self.changes = changes
        """Where writers mark the studies they have written to."""

    @classmethod
    def connect(
        cls,
        uri: str,
        name: str = "hilum",
        *,
        timeout_seconds: float = 10.0,
        changes: Changes | None = None,
    ) -> Self:
        """Return a database whose connections are made when they are first needed.

        Raises
        ------
        Invalid
            `uri` or `name` cannot be right. Whether a server answers is for `ping` to say.
        """
        return cls(uri, name, timeout_seconds=timeout_seconds, changes=changes)

    @property
    def raw(self) -> "AsyncIOMotorDatabase[Document]":
        """The driver's own object, for the modules of this room."""
        return self._database

    def collection(self, level: Level) -> "AsyncIOMotorCollection[Document]":
        """Return the collection with a document for each entity of `level`, but patients."""
        return {
            Level.STUDY: self.studies,
            Level.SERIES: self.series,
            Level.IMAGE: self.instances,
        }[level]

    async def ping(self) -> None:
        """Return if MongoDB answers.

        Raises
        ------
        IndexUnavailable
            It does not, within the time limit.
        """
        with translated():
            await self._database.command("ping")

    async def flush(self) -> None:
        """Have the server bring its data files up to date on disk, not its journal alone.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            await self._client.admin.command("fsync")

    async def ensure_schema(self) -> None:
        """Create what is missing of indexes and views; safe when several nodes start at once.

        Raises
        ------
        Invalid
            The database was written by a newer version of Hilum, or MongoDB is too old.
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            await schema.ensure(self._database)

    def close(self) -> None:
        """Close all connections. Nothing can be asked afterwards."""
        self._client.close()
