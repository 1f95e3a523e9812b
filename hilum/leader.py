"""What one worker does for all of them: numbering, delivering, announcing, clearing away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from hilum.config.settings import Settings
from hilum.edges import time_limits
from hilum.holdings import Core
from hilum.http.orthanc.describe import Describer
from hilum.http.outgoing.client import make_client
from hilum.http.outgoing.orthanc_forms import OrthancForms
from hilum.index.consignments import Consignments
from hilum.index.modalities import ModalityLedger
from hilum.index.numbering import Numbering
from hilum.index.queue import Queue
from hilum.index.stability import Stability
from hilum.routing import routing_subscriptions
from hilum.services.delivery import Deliveries, Pace
from hilum.services.leading import Task
from hilum.services.modalities import Modalities
from hilum.services.pruning import keep_pruning
from hilum.services.retention import keep_retaining
from hilum.services.stability import Announcing
from hilum.services.trash import keep_collecting, keep_giving_way
from hilum.webhooks import webhook_subscriptions


@asynccontextmanager
async def deliveries_to_others(settings: Settings, core: Core) -> AsyncIterator[Deliveries]:
    """Have what tells others of events, to be run by the leader."""
    describer = Describer(core.resources, core.attached)
    forms = OrthancForms(core.resources, core.contents, describer)
    async with (
        make_client() as client,
        routing_subscriptions(
            settings,
            core.retrieve,
            Consignments(core.database, settings.aet),
            Modalities(settings.aet, settings.dicom.known_peers, ModalityLedger(core.database)),
            time_limits(settings),
            client,
        ) as routes,
    ):
        yield Deliveries(
            core.outbox,
            Queue(core.database),
            [*webhook_subscriptions(settings.events.webhooks, client, forms), *routes],
            Pace(give_up_seconds=settings.events.give_up_after_hours * 3600),
        )


def tasks_of_the_leader(settings: Settings, core: Core, deliveries: Deliveries) -> list[Task]:
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
        every_seconds = settings.retention.every_minutes * 60
        tasks.append(lambda: keep_retaining(core.retention, every_seconds))
    return tasks
