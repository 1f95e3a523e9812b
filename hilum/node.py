"""The node: builds every part from the settings, starts it, drains it and stops it.

The one place that knows all rooms. What each worker has is `serving`: the use cases
(`open_core`) and both edges. `running` is the whole node, with what there is of it once
(`hilum.premises`). Programs that work on a data folder directly do without the edges.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

import structlog

from hilum import __version__
from hilum.config.cores import usable_cores
from hilum.config.settings import Settings
from hilum.core.errors import IndexUnavailable, Temporary
from hilum.core.peer import Peer
from hilum.http.app import Services as HttpServices
from hilum.http.app import make_app
from hilum.http.colleagues import Colleagues
from hilum.http.event_metrics import EventFigures
from hilum.http.metrics import Metrics
from hilum.http.orthanc.describe import Describer
from hilum.http.outgoing.client import make_client
from hilum.http.outgoing.orthanc_forms import OrthancForms
from hilum.http.queue_metrics import QueueFigures
from hilum.http.server import HttpServer
from hilum.imaging.workers import DecodeWorkers
from hilum.index.attached import Attached
from hilum.index.attachments import Attachments
from hilum.index.bookmark import Bookmark
from hilum.index.catalogue import Catalogue
from hilum.index.change_log import ChangeLog
from hilum.index.changes import Changes
from hilum.index.consignments import Consignments
from hilum.index.database import Database
from hilum.index.lease import Lease
from hilum.index.modalities import ModalityLedger
from hilum.index.numbering import Numbering
from hilum.index.outbox import Outbox
from hilum.index.protections import Protections
from hilum.index.queue import Queue
from hilum.index.queue_desk import QueueDesk
from hilum.index.references import References
from hilum.index.remover import Remover
from hilum.index.resources import Resources
from hilum.index.retention import Candidates
from hilum.index.stability import Stability
from hilum.index.sync_state import SyncStates
from hilum.index.trash import TrashNotes
from hilum.index.upload_log import UploadLog
from hilum.index.writer import Writer
from hilum.lifetime import background
from hilum.premises import (
    OBJECTS,
    SPOOL,
    Listeners,
    beside,
    holding,
    listening,
    ohif_folder,
    require_store,
    with_mongodb,
)
from hilum.routing import routing_subscriptions
from hilum.scp.acceptor import Admission
from hilum.scp.association import TimeLimits
from hilum.scp.request import Services as ScpServices
from hilum.scp.server import Server
from hilum.scp.shares import Shares
from hilum.scp.user import User
from hilum.services.broadcast import Broadcast, EventFeed, QueueFeed, UploadFeed
from hilum.services.bulk_data import BulkData
from hilum.services.contents import Contents
from hilum.services.crossing import Crossing
from hilum.services.deletion import Deletion, Trash, keep_resuming
from hilum.services.delivery import Deliveries, Pace
from hilum.services.foresight import Foresight
from hilum.services.ingest import Ingest
from hilum.services.leading import Leadership, Task, leading
from hilum.services.metadata import Metadata
from hilum.services.modalities import Modalities
from hilum.services.network import Network
from hilum.services.pictures import Pictures
from hilum.services.promotion import Promotion
from hilum.services.protection import Protection
from hilum.services.pruning import keep_pruning
from hilum.services.queue_view import QueueView
from hilum.services.reindexing import Reindexing
from hilum.services.retention import Retention, keep_retaining
from hilum.services.retention_plan import Planner, Rules
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search
from hilum.services.stability import Announcing
from hilum.services.synchronisation import Synchronisation
from hilum.services.trash import Trashcan, keep_collecting, keep_finishing, keep_giving_way
from hilum.storage.cache import Cache
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool
from hilum.storage.spools import Spools
from hilum.storage.trash import TrashFolder
from hilum.supervisor import supervising
from hilum.webhooks import webhook_subscriptions

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
async def running(settings: Settings) -> AsyncIterator[None]:
    """Have a whole node, in this process or in several; on leaving, drain and stop it.

    Raises
    ------
    StorageUnavailable
        The data folder cannot be used, or another node uses it.
    Invalid
        A port cannot be listened on, there is no MongoDB to start, or the database is of a
        newer version.
    """
    async with (
        holding(settings),
        listening(settings) as listeners,
        with_mongodb(settings) as settings,  # noqa: PLR1704 - the same, and where its MongoDB is
    ):
        parts = serving if settings.workers == 1 else supervising
        async with parts(settings, listeners):
            yield


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


@asynccontextmanager
async def serving(
    settings: Settings,
    listeners: Listeners,
    colleagues: Colleagues | None = None,
    shares: tuple[Shares, int] | None = None,
    changes: Changes | None = None,
) -> AsyncIterator[None]:
    """Serve both edges; on leaving, drain and close them.

    Parameters
    ----------
    settings
        They name a MongoDB, and the data folder is held.
    listeners
        Where to accept; closed on leaving.
    colleagues
        The other workers, if this is one of several.
    shares
        How many connections each of them has, and the place of this one.
    changes
        Where they mark the studies they have written to.

    Raises
    ------
    StorageUnavailable, Invalid
        See `open_core`.
    """
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings, changes))
        leadership = Leadership()
        modalities = Modalities(
            settings.aet, settings.dicom.known_peers, ModalityLedger(core.database)
        )
        scp = _scp_services(settings, core, modalities)
        network = Network.over(core.database, core.resources, User(scp), modalities)
        dicom = _dicom_server(settings, scp, listeners, shares)
        services = _http_services(settings, core, network, dicom, colleagues)
        services.metrics.gauge(
            "hilum_leader",
            "1 for the worker that does what one does for all",
            lambda: leadership.leads,
        )
        http = HttpServer(make_app(services), listeners.http)
        if colleagues is not None:
            await colleagues.start(services.metrics.registry)
            stack.callback(colleagues.stop)
        await stack.enter_async_context(background(asyncio.create_task(services.broadcast.run())))
        dicom.start()
        await http.start()
        deliveries = await stack.enter_async_context(_deliveries(settings, core))
        tasks = _tasks_of_the_leader(settings, core, deliveries)
        leading_task = leading(Lease(core.database, "leader"), tasks, leadership)
        await stack.enter_async_context(background(asyncio.create_task(leading_task)))
        jobs = asyncio.create_task(network.jobs.run())
        await stack.enter_async_context(background(jobs))
        try:
            yield
        finally:
            await asyncio.gather(http.stop(), asyncio.to_thread(dicom.stop))


@asynccontextmanager
async def _deliveries(settings: Settings, core: Core) -> AsyncIterator[Deliveries]:
    """Have what tells others of events, to be run by the leader."""
    describer = Describer(core.resources, core.attached)
    forms = OrthancForms(core.resources, core.contents, describer)
    async with (
        make_client() as client,
        routing_subscriptions(
            settings,
            core.retrieve,
            Consignments(core.database, settings.aet),
            _limits(settings),
            client,
        ) as routes,
    ):
        yield Deliveries(
            core.outbox,
            Queue(core.database),
            [*webhook_subscriptions(settings.events.webhooks, client, forms), *routes],
            Pace(give_up_seconds=settings.events.give_up_after_hours * 3600),
        )


def _tasks_of_the_leader(settings: Settings, core: Core, deliveries: Deliveries) -> list[Task]:
    """Return what one worker does for all: each runs until it is cancelled."""
    keep = timedelta(days=settings.storage.keep_deleted_days)
    reserve = settings.storage.disk_reserve

    async def number() -> None:
        # First: a subscription that is new begins behind the last event that has a number.
        await deliveries.register()
        await Numbering(core.database).run()

    announcing = Announcing(
        Stability(core.database), core.outbox, settings.events.stable_after_seconds
    )
    keep_events = timedelta(days=settings.events.keep_days)
    tasks: list[Task] = [
        number,
        announcing.run,
        lambda: keep_pruning(core.outbox, keep_events),
        deliveries.run,
        lambda: keep_collecting(core.trashcan, keep),
        lambda: keep_giving_way(core.trashcan, reserve),
    ]
    if core.retention.planner.rules.any:
        tasks.append(lambda: keep_retaining(core.retention))
    return tasks


def _planner(settings: Settings, database: Database, trash: Trash) -> Planner:
    rules = Rules(
        max_age_days=settings.retention.max_age_days,
        age_of=settings.retention.age_of,
        max_bytes=settings.retention.max_bytes,
        keep_free_bytes=settings.retention.keep_free_bytes,
        modalities=settings.retention.modalities,
    )
    return Planner(rules, Candidates(database), Protections(database), trash)


def _limits(settings: Settings) -> TimeLimits:
    return TimeLimits(
        acse_seconds=settings.dicom.acse_timeout_seconds,
        dimse_seconds=settings.dicom.dimse_timeout_seconds,
        network_seconds=settings.dicom.network_timeout_seconds,
    )


def _scp_services(settings: Settings, core: Core, modalities: Modalities) -> ScpServices:
    def destination(ae_title: str) -> Peer | None:
        return core.crossing.call(modalities.destination(ae_title))

    return ScpServices(
        ae_title=settings.aet,
        ingest=core.ingest,
        search=core.search,
        retrieve=core.retrieve,
        crossing=core.crossing,
        destination=destination,
        limits=_limits(settings),
    )


def _dicom_server(
    settings: Settings,
    services: ScpServices,
    listeners: Listeners,
    shares: tuple[Shares, int] | None,
) -> Server:
    peers = settings.dicom.known_peers
    return Server(
        settings.bind,
        settings.dicom.port,
        Admission(
            settings.aet,
            check_called_aet=settings.dicom.check_called_aet,
            known_callers=frozenset(peers) if settings.dicom.known_callers_only else None,
        ),
        services,
        maximum_associations=ceil(settings.dicom.max_associations / settings.workers),
        listener=listeners.dicom,
        shares=shares,
    )


def _http_services(
    settings: Settings,
    core: Core,
    network: Network,
    dicom: Server,
    colleagues: Colleagues | None,
) -> HttpServices:
    async def probe_storage() -> None:
        await asyncio.to_thread(core.spool.check)
        await asyncio.to_thread(core.store.check)

    queue = QueueView(QueueDesk(core.database))
    upload_log = UploadLog(core.database)
    services = HttpServices(
        ingest=core.ingest,
        search=core.search,
        retrieve=core.retrieve,
        pictures=core.pictures,
        metadata=core.metadata,
        bulk_data=core.bulk_data,
        contents=core.contents,
        resources=core.resources,
        attached=core.attached,
        attachments=Attachments(core.database),
        queue=queue,
        outbox=core.outbox,
        change_log=ChangeLog(core.database, core.outbox),
        upload_log=upload_log,
        broadcast=Broadcast(EventFeed(core.outbox), QueueFeed(queue), UploadFeed(upload_log)),
        network=network,
        synchronisation=core.synchronisation,
        deletion=core.deletion if settings.http.allow_delete else None,
        trashcan=core.trashcan,
        retention=core.retention.planner,
        protection=core.protection,
        probes={"db": core.database.ping, "storage": probe_storage},
        metrics=Metrics(colleagues),
        about={
            "aet": settings.aet,
            "dicom_port": dicom.port,
            "workers": settings.workers,
            "version": __version__,
        },
        users={name: secret.get_secret_value() for name, secret in settings.http.users.items()},
        cors_origins=settings.http.cors_origins,
        trusted_proxies=settings.http.trusted_proxies,
        ohif_folder=ohif_folder(settings),
    )
    metrics = services.metrics
    metrics.gauge("hilum_dicom_associations", "Open DICOM associations", lambda: dicom.associations)
    metrics.gauge(
        "hilum_ingest_backlog",
        "Instances on disk and not yet indexed",
        lambda: core.promotion.backlog,
    )
    promotion = core.promotion
    metrics.counter(
        "hilum_received_instances", "Instances accepted", lambda: promotion.received_instances
    )
    metrics.counter("hilum_received_bytes", "Bytes accepted", lambda: promotion.received_bytes)
    metrics.gauge(
        "hilum_quarantined_files",
        "Files in quarantine",
        lambda: len(core.quarantine),
        of_node=True,
    )
    metrics.of_node(QueueFigures(services.queue, core.crossing))
    metrics.of_node(EventFigures(core.outbox, core.crossing))
    return services


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
