"""The node: has every part built from the settings, starts it, drains it and stops it.

What each worker has is `serving`: what the data folder holds (`hilum.holdings`), both edges
(`hilum.edges`), and perhaps the lead (`hilum.leader`). `running` is the whole node, with what
there is of it once (`hilum.premises`). These files, and they alone, know all rooms.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hilum.config.settings import Settings
from hilum.edges import dicom_server, http_services, scp_services
from hilum.holdings import open_core
from hilum.http.app import make_app
from hilum.http.colleagues import Colleagues
from hilum.http.server import HttpServer
from hilum.index.changes import Changes
from hilum.index.lease import Lease
from hilum.index.modalities import ModalityLedger
from hilum.leader import deliveries_to_others, tasks_of_the_leader
from hilum.lifetime import background
from hilum.premises import Listeners, holding, listening, with_mongodb
from hilum.scp.shares import Shares
from hilum.scp.user import User
from hilum.services.leading import Leadership, leading
from hilum.services.modalities import Modalities
from hilum.services.network import Network
from hilum.supervisor import supervising


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
        scp = scp_services(settings, core, modalities)
        network = Network.over(
            core.database, core.resources, User(scp), modalities, scp.commitments
        )
        dicom = dicom_server(settings, scp, listeners, shares)
        services = http_services(settings, core, network, dicom, colleagues)
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
        deliveries = await stack.enter_async_context(deliveries_to_others(settings, core))
        tasks = tasks_of_the_leader(settings, core, deliveries)
        leading_task = leading(Lease(core.database, "leader"), tasks, leadership)
        await stack.enter_async_context(background(asyncio.create_task(leading_task)))
        jobs = asyncio.create_task(network.jobs.run())
        await stack.enter_async_context(background(jobs))
        try:
            yield
        finally:
            await asyncio.gather(http.stop(), asyncio.to_thread(dicom.stop))
