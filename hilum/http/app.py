"""The application: which handler answers where, and what every request goes through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from hilum.http.errors import translate_errors
from hilum.http.frames import Frames
from hilum.http.health import Check, Health, Probe
from hilum.http.metrics import Metrics
from hilum.http.pages import Pages, add_security_headers
from hilum.http.routes import note_route
from hilum.http.studies import Studies
from hilum.http.upload import Uploads
from hilum.services.ingest import Ingest
from hilum.services.pictures import Pictures
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search

#: Of bodies that are read whole; uploads are not, and have the disk's reserve for a limit.
_BODY_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Services:
    """What the edge works with."""

    ingest: Ingest
    search: Search
    retrieve: Retrieve
    pictures: Pictures
    probes: Mapping[str, Probe]
    """Health checks, by the name they have below ``/health``."""
    metrics: Metrics = field(default_factory=Metrics)
    about: Mapping[str, Any] = field(default_factory=dict)
    """What ``/health`` says of the node beside its state."""


def make_app(services: Services) -> web.Application:
    """Return the application; `hilum.http.server.HttpServer` serves it."""
    checks = {name: Check(probe) for name, probe in services.probes.items()}
    health = Health(checks, services.about)
    uploads = Uploads(services.ingest, services.retrieve)
    app = web.Application(
        middlewares=[note_route, services.metrics.middleware(), translate_errors],
        client_max_size=_BODY_BYTES,
    )
    app.add_routes(
        [
            *health.routes(),
            *services.metrics.routes(),
            *uploads.routes(),
            *Studies(services.search).routes(),
            *Frames(services.pictures).routes(),
            *Pages().routes(),
        ]
    )
    app.on_response_prepare.append(add_security_headers)
    app.on_cleanup.extend([health.close, uploads.close])
    return app
