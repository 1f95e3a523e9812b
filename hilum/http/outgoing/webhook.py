"""Webhooks: events posted to a URL."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import orjson

from hilum import __version__
from hilum.core.errors import NotFound, PeerUnreachable, Temporary
from hilum.core.events import Event
from hilum.http.outgoing.client import Client, reason_of, retry_after_seconds
from hilum.http.outgoing.signing import signature

#: Returns the body that is posted of an event.
Form = Callable[[Event], Awaitable[bytes]]

_USER_AGENT: Final = f"Hilum/{__version__}"
#: Said by what stands before a receiver that is away.
_GATEWAY_STATUSES: Final = frozenset({502, 503, 504})


async def hilum_form(event: Event) -> bytes:
    """Return the event as JSON."""
    return orjson.dumps(event.as_json())


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that events are posted to."""

    name: str
    url: str
    form: Form = hilum_form
    key: bytes | None = field(default=None, repr=False)
    """What bodies are signed with; None: not at all."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 10.0
    """For an attempt, from connecting to the status."""

    async def post(self, client: Client, event: Event) -> None:
        """Post one event; return if the receiver has taken it.

        Raises
        ------
        NotFound
            The receiver wants no more of these (410), or what is told of is gone.
        PeerUnreachable
            It does not answer, or not in time.
        Temporary
            It answers with anything else but a 2xx; it may have said when to ask again.
        """
        body = await self.form(event)
        try:
            async with client.post(
                self.url,
                data=body,
                headers=self._headers(event, body),
                timeout=aiohttp.ClientTimeout(total=self.timeout_seconds),
                allow_redirects=False,
            ) as answer:
                _judge(answer)
        except TimeoutError:
            raise PeerUnreachable(f"no answer within {self.timeout_seconds:g} s") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise PeerUnreachable(reason_of(error)) from None

    def _headers(self, event: Event, body: bytes) -> dict[str, str]:
        # The same whenever this event is posted again: receivers can tell by it.
        message_id = f"{self.name}:{event.sequence}"
        timestamp = int(time.time())
        headers = {
            **self.headers,
            "Content-Type": "application/json",
            "User-Agent": _USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
        }
        if self.key is not None:
            headers["webhook-signature"] = signature(self.key, message_id, timestamp, body)
        return headers


def _judge(answer: aiohttp.ClientResponse) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    said = f"the receiver answers {status}"
    if status == 410:
        raise NotFound(f"{said}: it wants no more")
    if 300 <= status < 400:
        said += ", and redirections are not followed"
    error = (PeerUnreachable if status in _GATEWAY_STATUSES else Temporary)(said)
    error.retry_after_seconds = retry_after_seconds(answer.headers.get("Retry-After"))
    raise error
