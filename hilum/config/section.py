"""What every table of the settings is made of."""

import json
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, SerializationInfo

#: Context of a dump that holds the secrets, for a process of this node and nobody else.
WITH_SECRETS: Final = {"secrets": True}


def _secret(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if info.context == WITH_SECRETS else str(secret)


#: Shown and dumped as asterisks, unless `WITH_SECRETS` is the context of the dump.
Secret = Annotated[SecretStr, PlainSerializer(_secret, return_type=str)]
#: As HTTP Basic authentication has it (RFC 7617): a colon ends it.
UserName = Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f]{1,64}$")]


class Section(BaseModel):
    """A table of the settings file; a name it does not know is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def from_json(value: object) -> object:
    """Return what an environment variable writes as JSON; a TOML table stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


def comma_separated(value: object) -> object:
    """Split what an environment variable writes with commas; a TOML list stays as it is."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]
