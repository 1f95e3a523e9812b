"""The settings of routing: rules, destinations that are no DICOM peers, shadow mode."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError
from pydantic_settings import NoDecode

from hilum.config.events import NAME, HeaderName, HeaderValue
from hilum.config.section import Secret, Section, UserName, comma_separated, from_json
from hilum.core.routing import Moment, Rule

#: In front of the name of a modality, which clients may add or change at any time.
MODALITY: Final = "modality:"
#: Of a fault, in the settings.
Place: TypeAlias = tuple[int | str, ...]


def _service_url(text: str) -> str:
    """Check the root of a DICOMweb service; `text` is not repeated, it may hold a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("not a URL such as https://archive.example.org/dicom-web")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user in the URL: set username and password")
    if parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise ValueError("not the URL of a service: without ? and # and blanks")
    text = text.rstrip("/")
    if text.endswith("/studies"):
        raise ValueError("the service's root, without /studies")
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _pattern(text: str) -> str:
    if not text.strip("* "):
        raise ValueError("a pattern that matches everything, or nothing: leave it out")
    return text


Name = Annotated[str, Field(pattern=NAME)]
Patterns = Annotated[
    tuple[Annotated[str, AfterValidator(_pattern)], ...],
    BeforeValidator(_one_or_more),
    Field(min_length=1),
]


class DestinationSettings(Section):
    """A DICOMweb service that takes instances (STOW-RS)."""

    url: Annotated[str, AfterValidator(_service_url)]
    username: UserName | None = None
    password: Secret | None = None
    headers: dict[HeaderName, HeaderValue] = Field(default={})

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> "DestinationSettings":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password: both or neither")
        if self.username and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("a username and a header Authorization: one of them")
        return self


class ConditionSettings(Section):
    """What an instance must be for a rule to send it."""

    modality: Patterns | None = None
    body_part_examined: Patterns | None = None
    series_description: Patterns | None = None
    protocol_name: Patterns | None = None
    station_name: Patterns | None = None
    manufacturer: Patterns | None = None
    study_description: Patterns | None = None
    sop_class_uid: Patterns | None = None
    transfer_syntax_uid: Patterns | None = None
    source: Patterns | None = None
    calling_ae_title: Patterns | None = None
    called_ae_title: Patterns | None = None


class RuleSettings(Section):
    """What is sent where, and when."""

    to: Annotated[tuple[str, ...], BeforeValidator(_one_or_more), Field(min_length=1)]
    on: Moment = Moment.ARRIVAL
    when: ConditionSettings = ConditionSettings()

    @property
    def conditions(self) -> dict[str, tuple[str, ...]]:
        """Patterns by what they are on."""
        given: dict[str, tuple[str, ...]] = self.when.model_dump(exclude_none=True)
        return given


class RoutingSettings(Section):
    """What is passed on, and to whom."""

    rules: Annotated[dict[Name, RuleSettings], NoDecode, BeforeValidator(from_json)] = Field(
        default={},
        description="Rules by name: what is sent `to` whom, `on` which occasion, `when` it is what",
    )
    destinations: Annotated[
        dict[Name, DestinationSettings], NoDecode, BeforeValidator(from_json)
    ] = Field(
        default={},
        description="DICOMweb services by name, with `url`, `username` and `password`, `headers`",
    )
    shadow: Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)] = Field(
        default=(),
        description="Destinations that everything which arrives is passed on to",
    )

    @property
    def as_rules(self) -> list[Rule]:
        """The rules, in the order in which they were written."""
        return [Rule(name, rule.on, rule.to, rule.conditions) for name, rule in self.rules.items()]

    @property
    def without_effect(self) -> Iterator[tuple[Place, str]]:
        """Where a rule says what others say already."""
        for position, destination in enumerate(self.shadow):
            if destination in self.shadow[:position]:
                yield ("shadow",), f"{destination!r} is named twice"
        before: dict[Any, str] = {}
        for name, rule in self.rules.items():
            for position, destination in enumerate(rule.to):
                if destination in rule.to[:position]:
                    yield ("rules", name, "to"), f"{destination!r} is named twice"
                    continue
                if destination in self.shadow:
                    reason = f"without effect: {destination} gets everything by routing.shadow"
                    yield ("rules", name), reason
                same = (destination, rule.on, rule.when)
                if same in before:
                    yield ("rules", name), f"without effect: the same as {before[same]}"
                before.setdefault(same, name)


def read_routing(
    value: object,
    read: Callable[[object], RoutingSettings],
    peers: Collection[str] | None,
) -> RoutingSettings:
    """Return the settings in `value`, and hold the destinations they name against those there are.

    Parameters
    ----------
    value
        As the sources of the settings have it.
    read
        Makes settings of it.
    peers
        AE titles; None: it is not known which there are.

    Raises
    ------
    ValidationError
        All that is wrong: what is no setting, what is named and is not there, what has no effect.
    """
    found = list(_dangling(value, peers)) if peers is not None else []
    faults: list[InitErrorDetails] = []
    try:
        settings = read(value)
    except ValidationError as error:
        faults += [
            InitErrorDetails(
                type=each["type"], loc=each["loc"], input=each["input"], ctx=each.get("ctx", {})
            )
            for each in error.errors()
        ]
    else:
        found += settings.without_effect
        if not found:
            return settings
    for place, reason in found:
        kind = PydanticCustomError("value_error", "{reason}", {"reason": reason})
        faults.append(InitErrorDetails(type=kind, loc=place, input=None))
    raise ValidationError.from_exception_data("routing", faults)


def _dangling(value: object, peers: Collection[str]) -> Iterator[tuple[Place, str]]:
    """Yield where a destination is named that is not there, as far as `value` can be read."""
    routing = _table(value)
    destinations = _table(routing.get("destinations"))
    for name in destinations:
        if name in peers:
            yield ("destinations", name), "dicom.peers has one of this name too"
    named: dict[Place, object] = {("shadow",): comma_separated(routing.get("shadow", ()))}
    for name, rule in _table(routing.get("rules")).items():
        named["rules", name, "to"] = _one_or_more(_table(rule).get("to", ()))
    for place, names in named.items():
        for name in names if isinstance(names, list | tuple) else ():
            if _is_modality(name):
                continue
            if name not in peers and name not in destinations:
                yield place, f"{name!r} is neither in dicom.peers nor in routing.destinations"


def _is_modality(name: object) -> bool:
    """Return whether a destination is a modality, of which nobody knows yet if there is one."""
    return isinstance(name, str) and len(name) > len(MODALITY) and name.startswith(MODALITY)


def _table(value: object) -> Mapping[str, Any]:
    """Return `value` if it is a table, else an empty one: what it is, another check says."""
    with suppress(ValueError):
        value = from_json(value)
    return value if isinstance(value, Mapping) else {}
