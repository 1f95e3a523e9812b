"""What the two edges of a worker work with, made of what the data folder holds."""

import asyncio
from math import ceil

from hilum import __version__
from hilum.config.settings import Settings
from hilum.core.peer import Peer
from hilum.holdings import Core
from hilum.http.app import Services as HttpServices
from hilum.http.colleagues import Colleagues
from hilum.http.event_metrics import EventFigures
from hilum.http.metrics import Metrics
from hilum.http.queue_metrics import QueueFigures
from hilum.index.attachments import Attachments
from hilum.index.change_log import ChangeLog
from hilum.index.jobs import JobLedger
from hilum.index.queue_desk import QueueDesk
from hilum.index.upload_log import UploadLog
from hilum.premises import Listeners, ohif_folder
from hilum.scp.acceptor import Admission
from hilum.scp.association import TimeLimits
from hilum.scp.request import Services as ScpServices
from hilum.scp.server import Server
from hilum.scp.shares import Shares
from hilum.services.broadcast import Broadcast, EventFeed, QueueFeed, UploadFeed
from hilum.services.commitment import Commitments
from hilum.services.modalities import Modalities
from hilum.services.network import Network
from hilum.services.queue_view import QueueView


def time_limits(settings: Settings) -> TimeLimits:
    """Return how long the associations of this node wait."""
    return TimeLimits(
        acse_seconds=settings.dicom.acse_timeout_seconds,
        dimse_seconds=settings.dicom.dimse_timeout_seconds,
        network_seconds=settings.dicom.network_timeout_seconds,
    )


def scp_services(settings: Settings, core: Core, modalities: Modalities) -> ScpServices:
    """Return what the DICOM edge works with."""

    def destination(ae_title: str) -> Peer | None:
        return core.crossing.call(modalities.destination(ae_title))

    return ScpServices(
        ae_title=settings.aet,
        ingest=core.ingest,
        search=core.search,
        retrieve=core.retrieve,
        commitments=Commitments(
            core.retrieve,
            JobLedger(core.database),
            settings.events.give_up_after_hours * 3600,
        ),
        crossing=core.crossing,
        destination=destination,
        limits=time_limits(settings),
    )


def dicom_server(
    settings: Settings,
    services: ScpServices,
    listeners: Listeners,
    shares: tuple[Shares, int] | None,
) -> Server:
    """Return the DICOM edge, not started yet."""
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


def http_services(
    settings: Settings,
    core: Core,
    network: Network,
    dicom: Server,
    colleagues: Colleagues | None,
) -> HttpServices:
    """Return what the HTTP edge works with, and have its figures in the metrics."""

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
        user_metadata=settings.http.user_metadata,
        user_content_types=settings.http.user_content_types,
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
