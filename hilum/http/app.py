"""The application: which handler answers where, and what every request goes through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from hilum.http.auth import Guard
from hilum.http.cors import CrossOrigin
from hilum.http.dicomweb.bulkdata import BulkDataResources
from hilum.http.dicomweb.capabilities import Capabilities
from hilum.http.dicomweb.delete import Delete
from hilum.http.dicomweb.metadata import MetadataResources
from hilum.http.dicomweb.qido import Qido
from hilum.http.dicomweb.rendered import Rendered
from hilum.http.dicomweb.stow import Stow
from hilum.http.dicomweb.urls import TRUSTED_PROXIES, trusted_networks
from hilum.http.dicomweb.wado import Wado
from hilum.http.dictionary import Dictionary
from hilum.http.errors import translate_errors
from hilum.http.events import Events
from hilum.http.expectation import close_uninvited, invite_bodies, uninvited
from hilum.http.frames import Frames
from hilum.http.health import Check, Health, Probe
from hilum.http.intake import Intake
from hilum.http.metrics import Metrics
from hilum.http.ohif import Ohif
from hilum.http.orthanc.api import orthanc_routes
from hilum.http.orthanc.errors import speak_orthanc
from hilum.http.overrides import Overrides
from hilum.http.pacs import Pacs
from hilum.http.pages import Pages, add_security_headers
from hilum.http.protection import ProtectionRoutes
from hilum.http.queue import Queues
from hilum.http.retention import RetentionRoutes
from hilum.http.routes import note_route
from hilum.http.slashes import forgive_slashes
from hilum.http.studies import Studies
from hilum.http.study_archive import StudyArchives
from hilum.http.trash import TrashRoutes
from hilum.http.upload import Uploads
from hilum.http.upload_log import UploadHistory
from hilum.http.wado_uri import WadoUri
from hilum.index.attached import Attached
from hilum.index.attachments import Attachments
from hilum.index.change_log import ChangeLog
from hilum.index.outbox import Outbox
from hilum.index.resources import Resources
from hilum.index.upload_log import UploadLog
from hilum.services.broadcast import Broadcast
from hilum.services.bulk_data import BulkData
from hilum.services.contents import Contents
from hilum.services.deletion import Deletion
from hilum.services.ingest import Ingest
from hilum.services.metadata import Metadata
from hilum.services.network import Network
from hilum.services.pictures import Pictures
from hilum.services.protection import Protection
from hilum.services.queue_view import QueueView
from hilum.services.retention_plan import Planner
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search
from hilum.services.synchronisation import Synchronisation
from hilum.services.trash import Trashcan

#: Of bodies that are read whole; uploads are not, and have the disk's reserve for a limit.
_BODY_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Services:
    """What the edge works with."""

    ingest: Ingest
    search: Search
    retrieve: Retrieve
    pictures: Pictures
    metadata: Metadata
    bulk_data: BulkData
    contents: Contents
    protection: Protection
    resources: Resources
    attached: Attached
    attachments: Attachments
    network: Network
    queue: QueueView
    outbox: Outbox
    change_log: ChangeLog
    upload_log: UploadLog
    broadcast: Broadcast
    synchronisation: Synchronisation
    probes: Mapping[str, Probe]
    """Health checks, by the name they have below ``/health``."""
    metrics: Metrics = field(default_factory=Metrics)
    deletion: Deletion | None = None
    """None: nothing is deleted over the web."""
    trashcan: Trashcan | None = None
    retention: Planner | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    """What ``/health`` says of the node beside its state."""
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Passwords by name; none: everybody may ask (`hilum.http.auth`)."""
    user_metadata: Mapping[str, int] = field(default_factory=dict)
    """Names of metadata that clients note, and of what they attach (`hilum.http.orthanc`)."""
    user_content_types: Mapping[str, int] = field(default_factory=dict)
    cors_origins: Sequence[str] = ()
    """Whose web pages may use DICOMweb and ``/api`` (`hilum.http.cors`)."""
    trusted_proxies: Sequence[str] = ("127.0.0.0/8", "::1")
    """Who is believed how clients reach this node (`hilum.http.dicomweb.urls`)."""
    ohif_folder: Path = Path("ohif")
    """Where the files of the OHIF viewer are, if they are."""


def make_app(services: Services) -> web.Application:
    """Return the application; `hilum.http.server.HttpServer` serves it."""
    checks = {name: Check(probe) for name, probe in services.probes.items()}
    health = Health(checks, services.about)
    intake = Intake(services.ingest, services.upload_log)
    overrides = Overrides(services.ingest, services.retrieve)
    rendered = Rendered(services.retrieve, services.pictures)
    events = Events(services.outbox, services.broadcast)
    studies = Studies(services.search, services.protection)
    ohif = Ohif(services.ohif_folder)
    cross_origin = CrossOrigin(services.cors_origins)
    guard = Guard(services.users, services.cors_origins)
    services.metrics.counter(
        "hilum_http_wrong_passwords", "Wrong passwords given", lambda: guard.wrong_passwords
    )
    app = web.Application(
        middlewares=[
            note_route,
            services.metrics.middleware(),
            translate_errors,
            speak_orthanc,
            cross_origin.middleware(),
            guard.middleware(),
            invite_bodies,
            forgive_slashes,
        ],
        client_max_size=_BODY_BYTES,
    )
    app[TRUSTED_PROXIES] = trusted_networks(services.trusted_proxies)
    app.add_routes(
        uninvited(
            [
                *health.routes(),
                *services.metrics.routes(),
                *Uploads(intake, overrides).routes(),
                *Stow(intake).routes(),
                *(Delete(services.deletion).routes() if services.deletion is not None else ()),
                *(
                    TrashRoutes(services.trashcan, services.deletion is not None).routes()
                    if services.trashcan is not None
                    else ()
                ),
                *(
                    RetentionRoutes(services.retention).routes()
                    if services.retention is not None
                    else ()
                ),
                *StudyArchives(services.retrieve, services.resources).routes(),
                *studies.routes(),
                *ProtectionRoutes(services.protection).routes(),
                *Frames(services.pictures).routes(),
                *Dictionary().routes(),
                *Queues(services.queue).routes(),
                *Capabilities().routes(),
                *Qido(services.search).routes(),
                *Wado(services.retrieve).routes(),
                *MetadataResources(services.metadata).routes(),
                *BulkDataResources(services.bulk_data, services.retrieve).routes(),
                *rendered.routes(),
                *WadoUri(services.retrieve, services.search, rendered).routes(),
                *orthanc_routes(services, intake),
                *Pacs(
                    services.search, studies, services.synchronisation, ohif, services.about
                ).routes(),
                *UploadHistory(services.upload_log).routes(),
                *events.routes(),
                *ohif.routes(),
                *Pages().routes(),
            ]
        )
    )
    app.on_response_prepare.append(add_security_headers)
    app.on_response_prepare.append(cross_origin.add_headers)
    app.on_response_prepare.append(close_uninvited)
    app.on_shutdown.append(events.close)
    app.on_cleanup.extend([health.close, intake.close])
    return app
