"""The routing of the settings, as subscriptions. For `hilum.leader`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hilum.config.routing import MODALITY
from hilum.config.settings import Settings
from hilum.core.peer import Peer
from hilum.core.routing import Moment, Rule
from hilum.http.outgoing.client import Client
from hilum.http.outgoing.stow import DicomWebService, authorization
from hilum.index.consignments import Consignments
from hilum.scp.association import TimeLimits
from hilum.scp.forwarding import DicomPeer, NamedPeer
from hilum.services.modalities import Modalities
from hilum.services.retrieve import Retrieve
from hilum.services.routing import Destination, Route
from hilum.services.subscriptions import Subscription


@asynccontextmanager
async def routing_subscriptions(
    settings: Settings,
    retrieve: Retrieve,
    consignments: Consignments,
    modalities: Modalities,
    limits: TimeLimits,
    client: Client,
) -> AsyncIterator[list[Subscription]]:
    """Have the destinations of all rules, and a subscription for each rule and each of them.

    Parameters
    ----------
    retrieve, consignments
        Where the instances are.
    modalities
        Those that clients have added, too.
    limits
        Of associations.
    client
        What services are asked with.
    """
    peers = settings.dicom.known_peers

    def sending_to(peer: Peer) -> DicomPeer:
        return DicomPeer(peer, settings.aet, limits, retrieve)

    rules = [*settings.routing.as_rules, Rule("", Moment.ARRIVAL, settings.routing.shadow)]
    async with AsyncExitStack() as stack:
        destinations: dict[str, Destination] = {}
        for name in sorted({name for rule in rules for name in rule.destinations}):
            if name in peers:
                peer = sending_to(peers[name])
                stack.push_async_callback(peer.close)
                destinations[name] = peer
            elif name.startswith(MODALITY):
                named = NamedPeer(name.removeprefix(MODALITY), modalities, sending_to)
                stack.push_async_callback(named.close)
                destinations[name] = named
            else:
                destinations[name] = _service(settings, name, client, retrieve)
        yield [
            Route(
                f"route.{rule.name}.{name}" if rule.name else f"shadow.{name}",
                rule,
                destinations[name],
                consignments,
            ).subscription()
            for rule in rules
            for name in rule.destinations
        ]


def _service(settings: Settings, name: str, client: Client, retrieve: Retrieve) -> DicomWebService:
    set_up = settings.routing.destinations[name]
    headers = {header: value.get_secret_value() for header, value in set_up.headers.items()}
    if set_up.username is not None and set_up.password is not None:
        headers |= authorization(set_up.username, set_up.password.get_secret_value())
    return DicomWebService(name, set_up.url, client, retrieve, headers)
