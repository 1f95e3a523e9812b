"""The settings of events: who is told of what happens."""

import base64
import binascii
import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    model_validator,
)
from pydantic_settings import NoDecode

from hilum.config.masking import MASK, mask_credentials
from hilum.config.section import WITH_SECRETS, Secret, Section, from_json
from hilum.core.events import Kind

#: What a name may be made of: it is part of identifiers and of labels.
NAME: Final = r"^[0-9A-Za-z][0-9A-Za-z_-]{0,62}$"
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: The node sets them, or they would break the message.
_OWN_HEADERS: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "transfer-encoding"}
    | {"webhook-id", "webhook-signature", "webhook-timestamp"}
)
#: How Standard Webhooks writes a secret that is bytes, in Base64.
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the mark, and no secret


def _url(text: str) -> str:
    # The text is not repeated: it may hold a password.
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or any(character.isspace() for character in text):
        raise ValueError("not a URL such as https://backend.example.org/hook")
    return text


def _shown_url(url: str, info: SerializationInfo) -> str:
    return url if info.context == WITH_SECRETS else shown_url(url)


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: password, values of the query."""
    parts = urlsplit(mask_credentials(url))
    query = re.sub(r"=[^&]*", f"={MASK}", parts.query)
    return urlunsplit(parts._replace(query=query, fragment=""))


def _header_name(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError("not the name of a header")
    if text.lower() in _OWN_HEADERS:
        raise ValueError(f"{text} is for the node to set")
    return text


def _header_value(secret: SecretStr) -> SecretStr:
    if any(ord(character) < 32 or ord(character) > 126 for character in secret.get_secret_value()):
        raise ValueError("the value of a header is printable ASCII")
    return secret


def _signing_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text:
        raise ValueError("must not be empty")
    if text.startswith(SECRET_PREFIX):
        try:
            base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {SECRET_PREFIX} is not Base64") from None
    return secret


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[Secret, AfterValidator(_header_value)]
Url = Annotated[str, AfterValidator(_url), PlainSerializer(_shown_url, return_type=str)]
#: The events that a format has a form for; the others have one for all.
_KINDS_OF_FORMAT: Final = {
    "orthanc-instance": (Kind.NEW_INSTANCE,),
    "orthanc-stable-study": (Kind.STABLE_STUDY,),
}


class WebhookSettings(Section):
    """Where events are posted to."""

    url: Url = Field(repr=False)
    kinds: tuple[Kind, ...] = ()
    """None: all that the format has a form for."""
    format: Literal["hilum", "orthanc-instance", "orthanc-stable-study"] = "hilum"
    secret: Annotated[Secret, AfterValidator(_signing_secret)] | None = None
    headers: dict[HeaderName, HeaderValue] = Field(default={})
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    begin: Literal["now", "oldest"] = "now"

    @model_validator(mode="after")
    def _format_fits(self) -> "WebhookSettings":
        possible = _KINDS_OF_FORMAT.get(self.format, tuple(Kind))
        if wrong := set(self.kinds) - set(possible):
            raise ValueError(f"the format {self.format} is not for {', '.join(sorted(wrong))}")
        return self

    @property
    def wanted(self) -> frozenset[Kind]:
        """The kinds of events that are posted."""
        return frozenset(self.kinds or _KINDS_OF_FORMAT.get(self.format, tuple(Kind)))


WebhookName = Annotated[str, Field(pattern=NAME)]


class EventsSettings(Section):
    """What happens, and who is told."""

    stable_after_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=60.0,
        description="A series, study or patient is stable when nothing new of it has come for "
        "so long (Orthanc's `StableAge`)",
    )
    # Longer than anybody lives, and what a calendar can still subtract.
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = Field(
        default=30.0,
        description="Events are kept for so many days, and longer if somebody is still to be "
        "told of them",
    )
    give_up_after_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=72.0,
        description="What could not be delivered for so long is a dead letter: it stays in the "
        "queue and is not tried again by itself",
    )
    webhooks: Annotated[
        dict[WebhookName, WebhookSettings], NoDecode, BeforeValidator(from_json)
    ] = Field(
        default={},
        description='Where events are posted to, by name: `{"backend": {"url": "https://…", '
        '"kinds": ["stable-study"]}}`',
    )
