"""A node's DICOM edge with everything below it, in the test's own process.

Real spool, store, index and sockets; only the HTTP edge and the command line are missing.
Being in this process, its threads, descriptors and quarantine can be looked at.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hilum.core.peer import Peer
from hilum.imaging.workers import DecodeWorkers
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.jobs import JobLedger
from hilum.index.writer import Writer
from hilum.scp.acceptor import Admission
from hilum.scp.association import TimeLimits
from hilum.scp.request import Services
from hilum.scp.server import Server
from hilum.scp.user import User
from hilum.services.commitment import COMMITMENT, Commitments
from hilum.services.crossing import Crossing
from hilum.services.decision import ConflictPolicy
from hilum.services.ingest import Ingest
from hilum.services.jobs import Jobs
from hilum.services.promotion import Promotion
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool
from tests.contract.spooling import received
from tests.integration.databases import lent_database


@dataclass
class ScpNode:
    """What a test may want to look at."""

    root: Path
    server: Server
    services: Services
    promotion: Promotion
    store: LocalStore
    quarantine: Quarantine
    aet: str = "HILUM"

    @property
    def peer(self) -> tuple[str, str, str, str]:
        """Arguments by which a dcmtk program calls this node."""
        return ("-aec", self.aet, "127.0.0.1", str(self.server.port))

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.server.port)

    @property
    def stored(self) -> list[str]:
        """Digests of everything in the store."""
        return sorted(self.store.digests())

    @property
    def spooled(self) -> list[Path]:
        """Files in the spool, finished or not."""
        return received(self.root / "spool")

    @property
    def quarantined(self) -> list[Path]:
        return sorted((self.root / "quarantine").glob("*.json"))


@contextmanager
def scp_node(
    root: Path,
    mongodb_uri: str,
    *,
    peers: Mapping[str, Peer] | None = None,
    limits: TimeLimits | None = None,
    policy: ConflictPolicy = "replace",
    maximum_associations: int = 1000,
    reserve_bytes: int = 0,
    **admission: Any,
) -> Iterator[ScpNode]:
    """Run a node for the length of a block, with a database of its own."""
    lending = ExitStack()
    name = lending.enter_context(lent_database(mongodb_uri))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    crossing = Crossing(loop)

    async def build() -> tuple[Database, Promotion, DecodeWorkers, "asyncio.Task[None]"]:
        database = Database.connect(mongodb_uri, name)
        await database.ensure_schema()
        promotion = Promotion(store, quarantine, Writer(database), policy)
        return database, promotion, DecodeWorkers(), asyncio.create_task(promotion.run())

    store = LocalStore(root / "objects")
    quarantine = Quarantine(root / "quarantine")
    spool = Spool(root / "spool", reserve_bytes)
    database, promotion, workers, promoting = crossing.call(build())
    catalogue = Catalogue(database)
    ingest = Ingest(spool, quarantine, promotion, crossing)
    retrieve = Retrieve(catalogue, store, workers, crossing)
    commitments = Commitments(retrieve, JobLedger(database))
    services = Services(
        ae_title="HILUM",
        ingest=ingest,
        search=Search(catalogue),
        retrieve=retrieve,
        commitments=commitments,
        crossing=crossing,
        destination=({} if peers is None else peers).get,
        limits=limits or TimeLimits(),
    )
    reports = partial(commitments.report, User(services))
    jobs = Jobs(JobLedger(database), {COMMITMENT: reports})
    working = asyncio.run_coroutine_threadsafe(jobs.run(), loop)
    server = Server("127.0.0.1", 0, Admission("HILUM", **admission), services, maximum_associations)
    server.start()

    async def tear_down() -> None:
        working.cancel()
        promoting.cancel()
        await asyncio.gather(promoting, return_exceptions=True)
        await workers.stop()
        database.close()

    try:
        yield ScpNode(root, server, services, promotion, store, quarantine)
    finally:
        server.stop(drain_seconds=5)
        crossing.call(tear_down())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        spool.close()
        lending.close()
