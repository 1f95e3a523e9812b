"""The node: builds every part from the settings, starts it, drains it and stops it.

The one place that knows all rooms. `open_core` gives the use cases without the edges, for
programs that work on a data folder directly; `serve` adds the edges and runs until told to
stop.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from hilum import __version__
from hilum.config.settings import Settings
from hilum.core.errors import IndexUnavailable, Invalid
from hilum.http.app import Services as HttpServices
from hilum.http.app import make_app
from hilum.http.server import HttpServer
from hilum.imaging.workers import DecodeWorkers
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.mongod import EmbeddedMongod
from hilum.index.writer import Writer
from hilum.scp.acceptor import Admission
from hilum.scp.association import TimeLimits
from hilum.scp.request import Services as ScpServices
from hilum.scp.server import Server
from hilum.services.crossing import Crossing
from hilum.services.ingest import Ingest
from hilum.services.pictures import Pictures
from hilum.services.promotion import Promotion
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool

log = structlog.get_logger(__name__)

# Behind a crash there are a handful of instances to replay: worth waiting for, so that the
# first query finds them. With MongoDB away there may be thousands: not worth waiting for.
_REPLAY_SECONDS = 10.0
_DRAIN_SECONDS = 20.0
_SCHEMA_SECONDS = 2.0
_SCHEMA_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Core:
    """A data folder opened for work: the use cases, and what health checks look at."""

    crossing: Crossing
    ingest: Ingest
    promotion: Promotion
    search: Search
    retrieve: Retrieve
    pictures: Pictures
    database: Database
    spool: Spool
    store: LocalStore
    quarantine: Quarantine


@asynccontextmanager
async def open_core(settings: Settings) -> AsyncIterator[Core]:
    """Open the data folder and the index; on leaving, finish what is pending and close them.

    Raises
    ------
    StorageUnavailable
        The data folder cannot be used, or another node uses it.
    Invalid
        There is no MongoDB to start, or the database is of a newer version.
    """
    async with AsyncExitStack() as stack:
        spool = Spool(settings.data_dir / "spool", settings.storage.disk_reserve)
        stack.callback(spool.close)
        store = LocalStore(settings.data_dir / "objects")
        quarantine = Quarantine(settings.data_dir / "quarantine")

        uri = settings.mongodb.uri
        if uri is None:
            mongod = EmbeddedMongod(settings.data_dir)
            uri = await mongod.start()
            stack.push_async_callback(mongod.stop)
            await stack.enter_async_context(_background(asyncio.create_task(mongod.watch())))
        database = Database.connect(uri, settings.mongodb.database)
        stack.callback(database.close)
        schema = asyncio.create_task(_ensure_schema(database))
        await stack.enter_async_context(_background(schema))
        # A MongoDB that answers is ready before the first query; one that does not must not
        # keep modalities waiting.
        await asyncio.wait([schema], timeout=_SCHEMA_SECONDS)

        promotion = Promotion(store, quarantine, Writer(database), settings.storage.conflict_policy)
        await stack.enter_async_context(_background(asyncio.create_task(promotion.run())))
        crossing = Crossing(asyncio.get_running_loop())
        ingest = Ingest(spool, quarantine, promotion, crossing)
        stack.callback(ingest.close)
        replayed = await asyncio.to_thread(ingest.replay)
        if replayed:
            complete = await promotion.drained(_REPLAY_SECONDS)
            log.info("spool replayed", instances=replayed, complete=complete)

        catalogue = Catalogue(database)
        workers = DecodeWorkers()
        stack.push_async_callback(workers.stop)
        core = Core(
            crossing=crossing,
            ingest=ingest,
            promotion=promotion,
            search=Search(catalogue),
            retrieve=Retrieve(catalogue, store, workers, crossing),
            pictures=Pictures(catalogue, store, workers),
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


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Core]:
    """Open the data folder and both ports; on leaving, drain and close them.

    Raises
    ------
    StorageUnavailable
        The data folder cannot be used, or another node uses it.
    Invalid
        A port cannot be listened on, or see `open_core`.
    """
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings))
        dicom = _dicom_server(settings, core)
        dicom.start()
        stack.push_async_callback(asyncio.to_thread, dicom.stop)
        http = HttpServer(
            make_app(_http_services(settings, core, dicom)), settings.bind, settings.http.port
        )
        try:
            await http.start()
        except OSError as error:
            raise Invalid(
                f"cannot listen for HTTP on {settings.bind}:{settings.http.port}: "
                f"{error.strerror or error}"
            ) from error
        stack.push_async_callback(http.stop)
        yield core


def _dicom_server(settings: Settings, core: Core) -> Server:
    peers = settings.dicom.known_peers
    return Server(
        settings.bind,
        settings.dicom.port,
        Admission(
            settings.aet,
            check_called_aet=settings.dicom.check_called_aet,
            known_callers=frozenset(peers) if settings.dicom.known_callers_only else None,
        ),
        ScpServices(
            ae_title=settings.aet,
            ingest=core.ingest,
            search=core.search,
            retrieve=core.retrieve,
            crossing=core.crossing,
            peers=peers,
            limits=TimeLimits(
                acse_seconds=settings.dicom.acse_timeout_seconds,
                dimse_seconds=settings.dicom.dimse_timeout_seconds,
                network_seconds=settings.dicom.network_timeout_seconds,
            ),
        ),
        maximum_associations=settings.dicom.max_associations,
    )


def _http_services(settings: Settings, core: Core, dicom: Server) -> HttpServices:
    async def probe_storage() -> None:
        await asyncio.to_thread(core.spool.check)
        await asyncio.to_thread(core.store.check)

    services = HttpServices(
        ingest=core.ingest,
        search=core.search,
        retrieve=core.retrieve,
        pictures=core.pictures,
        probes={"db": core.database.ping, "storage": probe_storage},
        about={"aet": settings.aet, "dicom_port": dicom.port, "version": __version__},
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
    metrics.gauge("hilum_quarantined_files", "Files in quarantine", lambda: len(core.quarantine))
    return services


async def _ensure_schema(database: Database) -> None:
    while True:
        try:
            await database.ensure_schema()
        except IndexUnavailable as error:
            log.warning("MongoDB does not answer, instances are accepted", reason=str(error))
            await asyncio.sleep(_SCHEMA_RETRY_SECONDS)
        else:
            return


@asynccontextmanager
async def _background(task: "asyncio.Task[None]") -> AsyncIterator[None]:
    """Have `task` beside the body: its failure ends the body, the body's end cancels it."""
    body = asyncio.current_task()

    def end_body(done: "asyncio.Task[None]") -> None:
        if body is not None and not done.cancelled() and done.exception() is not None:
            body.cancel()

    task.add_done_callback(end_body)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
