"""The webhooks of the settings, as subscriptions. For `hilum.leader`."""

from collections.abc import Mapping
from functools import partial

from hilum.config.events import WebhookSettings, shown_url
from hilum.core.events import Event
from hilum.http.outgoing.client import Client
from hilum.http.outgoing.orthanc_forms import OrthancForms
from hilum.http.outgoing.signing import signing_key
from hilum.http.outgoing.webhook import Form, Webhook, hilum_form
from hilum.services.subscriptions import Subscription


def webhook_subscriptions(
    settings: Mapping[str, WebhookSettings],
    client: Client,
    orthanc: OrthancForms,
) -> list[Subscription]:
    """Return a subscription for each webhook that is set.

    Parameters
    ----------
    settings
        By name.
    client
        What they are posted with.
    orthanc
        Makes those forms of bodies that Orthanc's callbacks know.
    """
    forms: dict[str, Form] = {
        "hilum": hilum_form,
        "orthanc-instance": orthanc.stored_instance,
        "orthanc-stable-study": orthanc.stable_study,
    }
    return [
        _subscription(name, each, forms[each.format], client) for name, each in settings.items()
    ]


def _subscription(name: str, settings: WebhookSettings, form: Form, client: Client) -> Subscription:
    webhook = Webhook(
        f"webhook.{name}",
        settings.url,
        form,
        signing_key(settings.secret.get_secret_value()) if settings.secret else None,
        {header: value.get_secret_value() for header, value in settings.headers.items()},
        settings.timeout_seconds,
    )
    wanted = settings.wanted

    def wants(event: Event) -> bool:
        return event.kind in wanted

    return Subscription(
        name=webhook.name,
        wants=wants,
        deliver=partial(webhook.post, client),
        describe=f"webhook {shown_url(settings.url)}",
        begin=settings.begin,
    )
