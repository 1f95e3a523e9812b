"""The settings of a node: their names, types, defaults and meaning, and nothing else.

Where values come from, and how a wrong one is reported, is `hilum.config.loading`. The
name of an environment variable follows from the place of a setting: ``dicom.port`` is
``HILUM_DICOM_PORT``. `docs/operations.md` lists them all, and a test compares.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hilum.config.cores import usable_cores
from hilum.config.events import EventsSettings
from hilum.config.routing import RoutingSettings, read_routing
from hilum.config.section import Secret, Section, UserName, comma_separated, from_json
from hilum.core.errors import Invalid
from hilum.core.identifiers import parse_ae_title
from hilum.core.peer import Peer

ENVIRONMENT_PREFIX: Final = "HILUM_"
_HOST_NAME: Final = re.compile(r"(?!-)[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63})*\.?")
_ORIGIN: Final = re.compile(r"https?://([0-9A-Za-z_.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
#: Where reverse proxies are found: on this machine, and in a network of one's own.
_NEAR: Final = (
    "127.0.0.0/8",
    "::1",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)
_MONGODB_URI: Final = re.compile(r"mongodb(\+srv)?://[^/?#]+")


def _ae_title(text: str) -> str:
    try:
        return parse_ae_title(text)
    except Invalid:
        raise ValueError(
            f"must be 1 to 16 printable ASCII characters without backslash, not {text[:40]!r}"
        ) from None


def _host(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # Digits and dots alone were meant as an address: 127.0.0 is no host name.
        if len(text) > 253 or not _HOST_NAME.fullmatch(text) or not text.strip("0123456789."):
            raise ValueError(f"not an IP address or a host name: {text[:80]!r}") from None
    return text


def _folder(path: Path) -> Path:
    # Absolute once and for all: the node must not depend on anybody's later chdir.
    return path.expanduser().absolute()


def _mongodb_uri(text: str) -> str:
    if not _MONGODB_URI.match(text):
        # The text is not repeated: whatever it is, it may hold a password.
        raise ValueError("not a MongoDB URI; it starts with mongodb:// or mongodb+srv://")
    return text


def _origin(text: str) -> str:
    if text != "*" and not _ORIGIN.fullmatch(text):
        raise ValueError(f"not an origin such as https://viewer.example.org: {text[:80]!r}")
    return text


def _network(text: str) -> str:
    if text != "*":
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"not an address or a network: {text[:80]!r}") from None
    return text


AETitle = Annotated[str, AfterValidator(_ae_title)]
Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _distinct(named: dict[str, int]) -> dict[str, int]:
    if len(set(named.values())) < len(named):
        raise ValueError("two names for one number")
    return named


#: Numbers that clients of Orthanc's API note or attach under, by the names they have for them.
OwnNumbers = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z_][0-9A-Za-z._-]{0,63}$")],
        Annotated[int, Field(ge=1024, le=65535)],
    ],
    NoDecode,
    BeforeValidator(from_json),
    AfterValidator(_distinct),
]


class PeerSettings(Section):
    """Where a DICOM peer listens."""

    host: Host
    port: Port


class DicomSettings(Section):
    """The DICOM edge."""

    port: Port = Field(default=4242, description="TCP port for DICOM associations")
    peers: Annotated[dict[AETitle, PeerSettings], NoDecode, BeforeValidator(from_json)] = Field(
        default={},
        description="Destinations of C-MOVE and known callers, by AE title: "
        '`{"WORKSTATION": {"host": "10.0.0.7", "port": 11112}}`',
    )
    check_called_aet: bool = Field(
        default=False, description="Reject callers that ask for another AE title than `aet`"
    )
    known_callers_only: bool = Field(
        default=False, description="Reject callers whose AE title is not among `dicom.peers`"
    )

    max_associations: Annotated[int, Field(ge=1)] = Field(
        default=1000,
        description="More at a time are rejected, transiently (PS3.8 9.3.4); "
        "the workers share them evenly",
    )
    acse_timeout_seconds: Seconds = Field(
        default=30.0, description="For a connection, its negotiation and its end (ARTIM)"
    )
    dimse_timeout_seconds: Seconds = Field(
        default=60.0, description="For the next bytes of a message, and for a response"
    )
    network_timeout_seconds: Seconds = Field(
        default=300.0, description="For the next request on an idle association"
    )

    @model_validator(mode="after")
    def _somebody_may_call(self) -> "DicomSettings":
        if self.known_callers_only and not self.peers:
            raise ValueError("known_callers_only is set, but there are no peers: nobody could call")
        return self

    @property
    def known_peers(self) -> dict[str, Peer]:
        """The peers by AE title."""
        return {title: Peer(title, peer.host, peer.port) for title, peer in self.peers.items()}


class HttpSettings(Section):
    """The HTTP edge."""

    port: Port = Field(
        default=8042, description="TCP port for the web page and the HTTP interfaces"
    )
    users: Annotated[dict[UserName, Secret], NoDecode, BeforeValidator(from_json)] = Field(
        default={},
        description='Who may ask, with which password: `{"backend": "…"}` (HTTP Basic '
        "authentication, over everything but `/health`); empty: everybody who reaches the port",
    )
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin)], ...],
        NoDecode,
        BeforeValidator(comma_separated),
    ] = Field(
        default=(),
        description="Origins whose web pages may use DICOMweb and `/api`, e.g. "
        "`https://viewer.example.org`, separated by commas; `*` for all",
    )
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(_network)], ...],
        NoDecode,
        BeforeValidator(comma_separated),
    ] = Field(
        default=_NEAR,
        description="Addresses and networks of reverse proxies, separated by commas; what they say "
        "of the client's address (`Forwarded`, `X-Forwarded-*`) goes into URLs. `*` for all",
    )
    user_metadata: OwnNumbers = Field(
        default={},
        description="Names that clients of Orthanc's API have for metadata of their own, with "
        'their numbers: `{"CaseId": 1024}`, as in Orthanc\'s `UserMetadata`',
    )
    user_content_types: OwnNumbers = Field(
        default={},
        description="The same of attachments, as in Orthanc's `UserContentType`",
    )
    ohif_folder: Annotated[Path, AfterValidator(_folder)] | None = Field(
        default=None,
        description="Folder with the files of the OHIF viewer, as `hilum ohif install` leaves "
        "them; empty: `ohif` under `data_dir`",
    )
    prepare_after_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=10.0,
        description="Metadata of a study is made ahead, into the cache, when nothing new of it "
        "has come for so long; 0: when it is asked for",
    )
    allow_delete: bool = Field(
        default=True,
        description="Studies, series and instances may be deleted over HTTP; for "
        "`storage.keep_deleted_days` that can be undone",
    )


class MongodbSettings(Section):
    """Where the index lives."""

    uri: Annotated[str, AfterValidator(_mongodb_uri)] | None = Field(
        default=None,
        repr=False,
        description="MongoDB of your own; empty: the node starts one under `data_dir`. "
        "`MONGODB_URI` is read too",
    )
    database: Annotated[str, Field(pattern=r"^[^/\\. \"$*<>:|?\x00]{1,63}$")] = Field(
        default="hilum", description="Name of the database"
    )


class StorageSettings(Section):
    """Where the bytes live."""

    disk_reserve: ByteSize = Field(
        default=ByteSize(1024**3),
        description="Free space below which nothing more is accepted, e.g. `20GiB`",
    )
    cache_bytes: ByteSize = Field(
        default=ByteSize(4 * 1024**3),
        description="What pictures and metadata made once may take below `data_dir`; "
        "it gives way when the disk fills. 0: nothing is kept on disk",
    )
    keep_deleted_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] = Field(
        default=7.0,
        description="For so long a deletion can be undone, unless the disk fills before; "
        "0: the bytes go at once",
    )
    conflict_policy: Literal["replace", "keep", "reject"] = Field(
        default="replace",
        description="Same SOP Instance UID, other content: the new version becomes current, "
        "the old one stays current, or the new one is refused. No version is deleted",
    )


class RetentionSettings(Section):
    """What is deleted by rule: nothing, unless set."""

    max_age_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] = Field(
        default=0.0, description="Delete studies older than that; 0: none for its age"
    )
    age_of: Literal["received", "study"] = Field(
        default="received",
        description="What is that old: the last instance that came of a study, or its StudyDate",
    )
    max_bytes: ByteSize = Field(
        default=ByteSize(0),
        description="Delete the studies received first while all together have more; 0: no limit",
    )
    keep_free_bytes: ByteSize = Field(
        default=ByteSize(0),
        description="Empty the trash, then delete the studies received first, while less than "
        "that is free on the disk; more than `storage.disk_reserve`. 0: no such rule",
    )
    modalities: Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)] = Field(
        default=(),
        description="Only studies that have nothing but these modalities, separated by commas; "
        "empty: all studies",
    )
    every_minutes: Annotated[float, Field(gt=0, le=10_080, allow_inf_nan=False)] = Field(
        default=5.0,
        description="How often the rules are applied; for the first time so long after a start",
    )


class LogSettings(Section):
    """What the node says while it runs."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line that is written"
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="`console` for people, `json` for machines; `auto` asks the terminal",
    )


class Settings(BaseSettings):
    """Everything an operator can set. Make one with `hilum.config.loading.load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
    )

    aet: AETitle = Field(default="HILUM", description="AE title of this node")
    bind: Host = Field(
        default="127.0.0.1", description="Address both ports listen on; `0.0.0.0` for all"
    )
    data_dir: Annotated[Path, AfterValidator(_folder)] = Field(
        default=Path("data"),
        validate_default=True,
        description="Folder of the store, the spool, the quarantine and the embedded MongoDB",
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=usable_cores,
        description="Processes that share the work; by default one for each usable core",
    )
    dicom: DicomSettings = DicomSettings()
    http: HttpSettings = HttpSettings()
    mongodb: MongodbSettings = MongodbSettings()
    storage: StorageSettings = StorageSettings()
    events: EventsSettings = EventsSettings()
    routing: RoutingSettings = RoutingSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()

    @field_validator("routing", mode="wrap")
    @classmethod
    def _destinations_are_known(
        cls, value: object, read: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> RoutingSettings:
        # Without peers that can be read, nobody knows: theirs is the fault that is reported.
        dicom = info.data.get("dicom")
        return read_routing(value, read, None if dicom is None else dicom.peers)

    @model_validator(mode="after")
    def _ports_differ(self) -> "Settings":
        if self.dicom.port == self.http.port:
            raise ValueError(f"dicom.port and http.port are both {self.http.port}")
        return self

    @model_validator(mode="after")
    def _retention_comes_first(self) -> "Settings":
        free, reserve = self.retention.keep_free_bytes, self.storage.disk_reserve
        if 0 < free <= reserve:
            raise ValueError(
                f"retention.keep_free_bytes ({free}) is not above storage.disk_reserve "
                f"({reserve}): instances would be refused before anything is deleted"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the layering to `hilum.config.loading`, which can tell where a value is from."""
        return (init_settings,)
