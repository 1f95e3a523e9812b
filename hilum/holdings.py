"""What a data folder holds, opened for work: the store, the index, and the use cases over both.

Without edges: so do programs have it that work on a data folder themselves. What only a
serving node has is in `hilum.edges` and `hilum.leader`.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from math import ceil

import structlog

from hilum.config.cores import usable_cores
from hilum.config.settings import Settings
from hilum.core.errors import IndexUnavailable, Temporary
from hilum.imaging.workers import DecodeWorkers
from hilum.index.attached import Attached
from hilum.index.bookmark import Bookmark
from hilum.index.catalogue import Catalogue
from hilum.index.changes import Changes
from hilum.index.database import Database
from hilum.index.outbox import Outbox
from hilum.index.protections import Protections
from hilum.index.references import References
from hilum.index.remover import Remover
from hilum.index.resources import Resources
from hilum.index.retention import Candidates
from hilum.index.sync_state import SyncStates
from hilum.index.trash import TrashNotes
from hilum.index.writer import Writer
from hilum.lifetime import background
from hilum.premises import (
    OBJECTS,
    SPOOL,
    beside,
    require_store,
)
from hilum.services.bulk_data import BulkData
from hilum.services.contents import Contents
from hilum.services.crossing import Crossing
from hilum.services.deletion import Deletion, Trash, keep_resuming
from hilum.services.foresight import Foresight
from hilum.services.ingest import Ingest
from hilum.services.metadata import Metadata
from hilum.services.pictures import Pictures
from hilum.services.promotion import Promotion
from hilum.services.protection import Protection
from hilum.services.reindexing import Reindexing
from hilum.services.retention import Retention
from hilum.services.retention_plan import Planner, Rules
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search
from hilum.services.synchronisation import Synchronisation
from hilum.services.trash import Trashcan, keep_finishing
from hilum.storage.cache import Cache
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool
from hilum.storage.spools import Spools
from hilum.storage.trash import TrashFolder

log = structlog.get_logger(__name__)

# Behind a crash there are a handful of instances to replay: worth waiting for, so that the
# first query finds them. With MongoDB away there may be thousands: not worth waiting for.
_REPLAY_SECONDS = 10.0
_DRAIN_SECONDS = 20.0
_SCHEMA_SECONDS = 2.0
_SCHEMA_RETRY_SECONDS = 2.0
# How often each worker looks for what a dead one has left.
_ADOPTION_SECONDS = 1.0
# How often the cache is held against the space that is left for instances.
_GIVING_WAY_SECONDS = 2.0
# In the data folder.
CACHE = "cache"
TRASH = "trash"


@dataclass(frozen=True, slots=True)
class Core:
    """A data folder opened for work: the use cases, and what health checks look at."""

    crossing: Crossing
    ingest: Ingest
    promotion: Promotion
    search: Search
    retrieve: Retrieve
    pictures: Pictures
    metadata: Metadata
    bulk_data: BulkData
    contents: Contents
    resources: Resources
    attached: Attached
    deletion: Deletion
    reindexing: Reindexing
    synchronisation: Synchronisation
    references: References
    outbox: Outbox
    trashcan: Trashcan
    retention: Retention
    protection: Protection
    database: Database
    spool: Spool
    store: LocalStore
    quarantine: Quarantine


@asynccontextmanager
async def open_core(settings: Settings, changes: Changes | None = None) -> AsyncIterator[Core]:
    """Open the store and the index; on leaving, finish what is pending and close them.

    Needs a data folder that is held, and settings that name a MongoDB.

    Parameters
    ----------
    settings
        What to open.
    changes
        What the workers tell each other, if this is one of several.

    Raises
    ------
    StorageUnavailable
        The data folder cannot be used.
    Invalid
        The database is of a newer version.
    """
    async with AsyncExitStack() as stack:
        spools = Spools(settings.data_dir / SPOOL, settings.storage.disk_reserve)
        stack.callback(spools.close)
        spool = spools.take()
        store = LocalStore(settings.data_dir / OBJECTS)
        quarantine = Quarantine(settings.data_dir / "quarantine")

        database = await _open_database(stack, settings, changes or Changes())
        catalogue = Catalogue(database)
        outbox = Outbox(database)
        cache = Cache(
            settings.data_dir / CACHE,
            settings.storage.cache_bytes,
            settings.storage.disk_reserve,
        )
        metadata = Metadata(catalogue, store, cache)
        foresight: Foresight | None = None
        if settings.http.prepare_after_seconds and settings.storage.cache_bytes:
            foresight = Foresight(metadata, settings.http.prepare_after_seconds)
            await stack.enter_async_context(background(asyncio.create_task(foresight.run())))
        promotion = Promotion(
            store,
            quarantine,
            Writer(database),
            settings.storage.conflict_policy,
            on_written=foresight.note if foresight else None,
            outbox=outbox,
        )
        await stack.enter_async_context(background(asyncio.create_task(promotion.run())))
        crossing = Crossing(asyncio.get_running_loop())
        ingest = Ingest(spool, quarantine, promotion, crossing)
        replayed = await asyncio.to_thread(ingest.replay)
        replayed += await _adopt(spools, ingest)
        if replayed:
            complete = await promotion.drained(_REPLAY_SECONDS)
            log.info("spool replayed", instances=replayed, complete=complete)
        await _begin(stack, _keep_adopting(spools, spool, ingest))
        remover = Remover(database)
        trash = Trash(TrashNotes(database), TrashFolder(settings.data_dir / TRASH))
        keep = settings.storage.keep_deleted_days > 0
        deletion = Deletion(remover, store, crossing, cache, trash, keep=keep, outbox=outbox)
        trashcan = Trashcan(trash, promotion, deletion)
        await _begin(stack, keep_resuming(deletion), keep_finishing(trashcan))

        workers = DecodeWorkers(_decoders(settings.workers))
        await stack.enter_async_context(background(asyncio.create_task(_keep_giving_way(cache))))
        pictures = Pictures(catalogue, store, workers, cache)
        references = References(database)
        stack.callback(pictures.close)
        stack.push_async_callback(workers.stop)
        reindexing = _reindexing(settings, store, database)
        synchronisation = Synchronisation(reindexing, SyncStates(database))
        stack.push_async_callback(synchronisation.stop)
        core = Core(
            crossing=crossing,
            ingest=ingest,
            promotion=promotion,
            search=Search(catalogue),
            retrieve=Retrieve(catalogue, store, workers, crossing),
            pictures=pictures,
            metadata=metadata,
            bulk_data=BulkData(store),
            contents=Contents(store),
            resources=Resources(database),
            attached=Attached(database),
            deletion=deletion,
            reindexing=reindexing,
            synchronisation=synchronisation,
            references=references,
            outbox=outbox,
            trashcan=trashcan,
            retention=Retention(
                _planner(settings, database, trash), Candidates(database), deletion, trashcan
            ),
            protection=Protection(Protections(database)),
            database=database,
            spool=spool,
            store=store,
            quarantine=quarantine,
        )
        try:
            yield core
        finally:
            if not await promotion.drained(_DRAIN_SECONDS):
                log.warning("stopping with instances in the spool", backlog=promotion.backlog)


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """A data folder opened for reading."""

    store: LocalStore
    references: References
    catalogue: Catalogue
    quarantine: Quarantine
    database: Database


@asynccontextmanager
async def open_index(settings: Settings) -> AsyncIterator[OpenIndex]:
    """Open the store and the index for reading, beside a node if one runs.

    Without one, what a dead one has left in the spool is finished first.

    Raises
    ------
    NotFound
        There is no store.
    StorageUnavailable, Invalid, IndexUnavailable
        See `hilum.premises.beside` and `open_core`.
    """
    require_store(settings)
    async with AsyncExitStack() as stack:
        complete, runs = await stack.enter_async_context(beside(settings))
        if not runs:
            core = await stack.enter_async_context(open_core(complete))
            database = core.database
        else:
            assert complete.mongodb.uri is not None
            database = Database.connect(complete.mongodb.uri, complete.mongodb.database)
            stack.callback(database.close)
        yield OpenIndex(
            LocalStore(settings.data_dir / OBJECTS),
            References(database),
            Catalogue(database),
            Quarantine(settings.data_dir / "quarantine"),
            database,
        )


@asynccontextmanager
async def open_planner(settings: Settings) -> AsyncIterator[tuple[Planner, Candidates]]:
    """Have the plans of retention by these settings, beside a node if one runs.

    Raises
    ------
    StorageUnavailable, Invalid, IndexUnavailable
        See `hilum.premises.beside`.
    """
    async with AsyncExitStack() as stack:
        complete, _ = await stack.enter_async_context(beside(settings))
        assert complete.mongodb.uri is not None
        database = Database.connect(complete.mongodb.uri, complete.mongodb.database)
        stack.callback(database.close)
        trash = Trash(TrashNotes(database), TrashFolder(settings.data_dir / TRASH))
        yield _planner(complete, database, trash), Candidates(database)


def _planner(settings: Settings, database: Database, trash: Trash) -> Planner:
    rules = Rules(
        max_age_days=settings.retention.max_age_days,
        age_of=settings.retention.age_of,
        max_bytes=settings.retention.max_bytes,
        keep_free_bytes=settings.retention.keep_free_bytes,
        modalities=settings.retention.modalities,
    )
    return Planner(rules, Candidates(database), Protections(database), trash)


async def _open_database(stack: AsyncExitStack, settings: Settings, changes: Changes) -> Database:
    assert settings.mongodb.uri is not None
    database = Database.connect(settings.mongodb.uri, settings.mongodb.database, changes=changes)
    stack.callback(database.close)
    schema = asyncio.create_task(_ensure_schema(database))
    await stack.enter_async_context(background(schema))
    # A MongoDB that answers is ready before the first query; one that does not must not
    # keep modalities waiting.
    await asyncio.wait([schema], timeout=_SCHEMA_SECONDS)
    return database


def _reindexing(settings: Settings, store: LocalStore, database: Database) -> Reindexing:
    return Reindexing(
        store,
        Writer(database),
        References(database),
        Remover(database),
        Bookmark(database),
        settings.storage.conflict_policy,
    )


async def _begin(stack: AsyncExitStack, *endless: Coroutine[None, None, None]) -> None:
    """Run what does not end by itself for as long as `stack` lasts."""
    for each in endless:
        await stack.enter_async_context(background(asyncio.create_task(each)))


async def _ensure_schema(database: Database) -> None:
    while True:
        try:
            await database.ensure_schema()
        except IndexUnavailable as error:
            log.warning("MongoDB does not answer, instances are accepted", reason=str(error))
            await asyncio.sleep(_SCHEMA_RETRY_SECONDS)
        else:
            return


async def _adopt(spools: Spools, ingest: Ingest) -> int:
    """Queue what dead workers, of this node or an earlier one, have left; return how many."""

    def adopt() -> int:
        return sum(ingest.replay(spool) for spool in spools.adopt())

    return await asyncio.to_thread(adopt)


async def _keep_adopting(spools: Spools, own: Spool, ingest: Ingest) -> None:
    trouble = ""
    while True:
        await asyncio.sleep(_ADOPTION_SECONDS)
        try:
            adopted = await _adopt(spools, ingest)
            await asyncio.to_thread(spools.let_go, own)
        except Temporary as error:
            if str(error) != trouble:  # once, and not every second
                log.warning("cannot look for left spool files", reason=str(error))
            trouble = str(error)
            continue
        trouble = ""
        if adopted:
            log.info("spool of a dead worker adopted", instances=adopted)


async def _keep_giving_way(cache: Cache) -> None:
    while True:
        await asyncio.sleep(_GIVING_WAY_SECONDS)
        await asyncio.to_thread(cache.give_way)


def _decoders(workers: int) -> int:
    """Return how many helpers a worker may have: its share of the cores, and one to spare.

    Connections are not spread over workers as evenly as all that.
    """
    cores = usable_cores()
    return min(cores, ceil(cores / workers) + 1)
