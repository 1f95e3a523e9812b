"""The HTTP edge over real services: store, spool, MongoDB, helper processes, a TCP port."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from hilum.core.listening import listen
from hilum.http.app import Services, make_app
from hilum.http.server import HttpServer
from hilum.imaging.workers import DecodeWorkers
from hilum.index.attached import Attached
from hilum.index.attachments import Attachments
from hilum.index.bookmark import Bookmark
from hilum.index.catalogue import Catalogue
from hilum.index.change_log import ChangeLog
from hilum.index.database import Database
from hilum.index.jobs import JobLedger
from hilum.index.modalities import ModalityLedger
from hilum.index.outbox import Outbox
from hilum.index.protections import Protections
from hilum.index.queue_desk import QueueDesk
from hilum.index.references import References
from hilum.index.remover import Remover
from hilum.index.resources import Resources
from hilum.index.retention import Candidates
from hilum.index.sync_state import SyncStates
from hilum.index.trash import TrashNotes
from hilum.index.upload_log import UploadLog
from hilum.index.writer import Writer
from hilum.scp.association import TimeLimits
from hilum.scp.request import Services as ScpServices
from hilum.scp.user import User
from hilum.services.broadcast import Broadcast, EventFeed, QueueFeed, UploadFeed
from hilum.services.bulk_data import BulkData
from hilum.services.commitment import Commitments
from hilum.services.contents import Contents
from hilum.services.crossing import Crossing
from hilum.services.decision import ConflictPolicy
from hilum.services.deletion import Deletion, Trash
from hilum.services.ingest import Ingest
from hilum.services.metadata import Metadata
from hilum.services.modalities import Modalities
from hilum.services.network import Network
from hilum.services.pictures import Pictures
from hilum.services.promotion import Promotion
from hilum.services.protection import Protection
from hilum.services.queue_view import QueueView
from hilum.services.reindexing import Reindexing
from hilum.services.retention_plan import Planner, Rules
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search
from hilum.services.synchronisation import Synchronisation
from hilum.services.trash import Trashcan
from hilum.storage.cache import Cache
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool
from hilum.storage.trash import TrashFolder
from tests.contract.spooling import received

_NO_RULES = Rules()


@dataclass(frozen=True)
class HttpNode:
    """A serving edge, a client of it, and the folder behind it."""

    client: aiohttp.ClientSession
    services: Services
    catalogue: Catalogue
    data_dir: Path
    port: int

    @property
    def stored(self) -> list[Path]:
        return [path for path in (self.data_dir / "objects").rglob("*") if path.is_file()]

    @property
    def in_trash(self) -> list[Path]:
        return [path for path in (self.data_dir / "trash").rglob("*") if path.is_file()]

    @property
    def quarantined(self) -> list[Path]:
        return sorted((self.data_dir / "quarantine").rglob("*.dcm"))

    @property
    def spooled(self) -> list[Path]:
        return received(self.data_dir / "spool")

    async def upload(self, *files: tuple[str, bytes], **fields: str) -> aiohttp.ClientResponse:
        """Post files the way a browser does."""
        form = aiohttp.FormData(quote_fields=False)  # names as browsers write them
        for name, content in files:
            form.add_field("file", io.BytesIO(content), filename=name)
        for name, value in fields.items():
            form.add_field(name, value)
        return await self.client.post("/api/dicom/upload", data=form)


@asynccontextmanager
async def http_node(
    database: Database,
    data_dir: Path,
    *,
    reserve_bytes: int = 0,
    keepalive_seconds: float = 75,
    allow_delete: bool = False,
    keep_deleted: bool = False,
    rules: Rules = _NO_RULES,
    policy: ConflictPolicy = "replace",
    workers: DecodeWorkers | None = None,
) -> AsyncIterator[HttpNode]:
    spool = Spool(data_dir / "spool", reserve_bytes)
    store = LocalStore(data_dir / "objects")
    quarantine = Quarantine(data_dir / "quarantine")
    catalogue = Catalogue(database)
    promotion = Promotion(store, quarantine, Writer(database), policy)
    promoting = asyncio.create_task(promotion.run())
    crossing = Crossing(asyncio.get_running_loop())
    ingest = Ingest(spool, quarantine, promotion, crossing)
    workers = workers or DecodeWorkers()
    cache = Cache(data_dir / "cache", 64 << 20)
    pictures = Pictures(catalogue, store, workers, cache)
    reindexing = Reindexing(
        store,
        Writer(database),
        References(database),
        Remover(database),
        Bookmark(database),
        policy,
    )
    synchronisation = Synchronisation(reindexing, SyncStates(database))
    trash = Trash(TrashNotes(database), TrashFolder(data_dir / "trash"))
    queue = QueueView(QueueDesk(database))
    upload_log = UploadLog(database)
    outbox = Outbox(database)
    deletion = Deletion(
        Remover(database),
        store,
        crossing,
        cache,
        trash,
        keep=keep_deleted,
        outbox=outbox,
    )
    retrieve = Retrieve(catalogue, store, workers, crossing)
    modalities = Modalities("TEST", {}, ModalityLedger(database))
    scp = ScpServices(
        ae_title="TEST",
        ingest=ingest,
        search=Search(catalogue),
        retrieve=retrieve,
        commitments=Commitments(retrieve, JobLedger(database)),
        crossing=crossing,
        destination={}.get,
        limits=TimeLimits(),
    )
    services = Services(
        ingest=ingest,
        search=Search(catalogue),
        retrieve=retrieve,
        pictures=pictures,
        metadata=Metadata(catalogue, store, cache),
        bulk_data=BulkData(store),
        contents=Contents(store),
        resources=Resources(database),
        queue=queue,
        outbox=outbox,
        change_log=ChangeLog(database, outbox),
        upload_log=upload_log,
        broadcast=Broadcast(EventFeed(outbox), QueueFeed(queue), UploadFeed(upload_log)),
        network=Network.over(database, Resources(database), User(scp), modalities, scp.commitments),
        synchronisation=synchronisation,
        attached=Attached(database),
        attachments=Attachments(database),
        deletion=deletion if allow_delete else None,
        trashcan=Trashcan(trash, promotion, deletion),
        retention=Planner(rules, Candidates(database), Protections(database), trash),
        protection=Protection(Protections(database)),
        probes={"db": database.ping, "storage": _in_thread(spool.check)},
        about={"aet": "TEST", "version": "0"},
    )
    server = HttpServer(
        make_app(services), listen("127.0.0.1", 0, "HTTP"), keepalive_seconds=keepalive_seconds
    )
    await server.start()
    broadcasting = asyncio.create_task(services.broadcast.run())
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
            yield HttpNode(client, services, catalogue, data_dir, server.port)
    finally:
        await server.stop()
        await synchronisation.stop()
        broadcasting.cancel()
        promoting.cancel()
        with suppress(asyncio.CancelledError):
            await promoting
        await workers.stop()
        pictures.close()
        spool.close()


def _in_thread(check: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    return lambda: asyncio.to_thread(check)
