"""Loading the settings: flags over environment over file over defaults.

Whatever is wrong is collected and reported at once, each fault under the name its author
knows it by: the flag, the environment variable, or the key of the TOML file.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource

from hilum.config.settings import ENVIRONMENT_PREFIX, Settings
from hilum.core.errors import Invalid

#: The file that is read when no other is named and it is there.
DEFAULT_FILE: Final = "hilum.toml"
#: Names the file; it is about the settings and so is none itself.
FILE_VARIABLE: Final = "HILUM_CONFIG"
#: What hosting platforms call the database's address.
MONGODB_VARIABLE: Final = "MONGODB_URI"
# Kubernetes puts such variables into every container beside a Service called "hilum":
# they are nobody's typing mistakes.
_SERVICE_LINK: Final = re.compile(
    r"HILUM_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_.+)?)|HILUM_PORT"
)

#: Parts of keys whose values are not repeated: they are, or may hold, secrets.
_SECRET: Final = frozenset({"headers", "password", "secret", "uri", "url", "users"})

Key = tuple[str, ...]


class WrongSettings(Invalid):
    """One or more settings are wrong; every one of them is named."""

    code = "wrong-settings"

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in faults))
        self.faults = faults


@dataclass(frozen=True)
class Loaded:
    """Settings, and where each that is not a default came from."""

    settings: Settings
    origins: dict[Key, str]


@dataclass(frozen=True)
class _Layer:
    """Values of one source, by key, and the name of each as its author wrote it."""

    values: dict[Key, Any] = field(default_factory=dict)
    names: dict[Key, str] = field(default_factory=dict)


def setting_keys(model: type[BaseModel] = Settings, prefix: Key = ()) -> Iterator[Key]:
    """Yield the key of every setting, e.g. ``("dicom", "port")``, in order."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from setting_keys(info.annotation, (*prefix, name))
        else:
            yield (*prefix, name)


def variable_of(key: Key) -> str:
    """Return the environment variable of a setting, e.g. ``HILUM_DICOM_PORT``."""
    return ENVIRONMENT_PREFIX + "_".join(key).upper()


def load(
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    config: Path | None = None,
) -> Loaded:
    """Read and check the settings.

    Parameters
    ----------
    environ
        The environment variables; an empty value counts as absent.
    flags
        Values from the command line by dotted key, e.g. ``{"dicom.port": 104}``; None
        values count as absent.
    config
        The TOML file. Without one, ``HILUM_CONFIG`` names it, else ``./hilum.toml`` is
        read if it is there.

    Raises
    ------
    WrongSettings
        Something is wrong with them; names all of it.
    """
    faults: list[tuple[str, str]] = []
    environ = {name: value for name, value in environ.items() if value}
    layers = [
        _from_flags(flags or {}),
        _from_environment(environ, faults),
        _from_file(_file(environ, config), faults),
    ]
    values: dict[Key, Any] = {}
    origins: dict[Key, str] = {}
    for layer in reversed(layers):
        values |= layer.values
        origins |= layer.names
    try:
        settings = Settings(**_nested(values))
    except ValidationError as error:
        faults += [_fault(details["loc"], details, origins) for details in error.errors()]
        raise WrongSettings(faults) from None
    if faults:
        raise WrongSettings(faults)
    return Loaded(settings, origins)


def _file(environ: Mapping[str, str], config: Path | None) -> Path | None:
    if config is not None:
        return config
    if FILE_VARIABLE in environ:
        return Path(environ[FILE_VARIABLE])
    default = Path(DEFAULT_FILE)
    return default if default.exists() else None


def _from_flags(flags: Mapping[str, Any]) -> _Layer:
    layer = _Layer()
    for dotted, value in flags.items():
        if value is not None:
            key = tuple(dotted.split("."))
            layer.values[key] = value
            layer.names[key] = "--" + "-".join(key).replace("_", "-")
    return layer


def _from_environment(environ: Mapping[str, str], faults: list[tuple[str, str]]) -> _Layer:
    layer = _Layer()
    variables = {variable_of(key): key for key in setting_keys()}
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): environ[name] for name in variables if name in environ}
    layer.values.update(_flat(source()))
    layer.names.update({variables[name]: name for name in variables if name in environ})
    uri = ("mongodb", "uri")
    if MONGODB_VARIABLE in environ and uri not in layer.values:
        layer.values[uri] = environ[MONGODB_VARIABLE]
        layer.names[uri] = MONGODB_VARIABLE
    faults.extend(
        (name, "no such setting" + _suggestion(name, variables))
        for name in sorted(environ.keys() - variables.keys() - {FILE_VARIABLE})
        if name.startswith(ENVIRONMENT_PREFIX) and not _SERVICE_LINK.fullmatch(name)
    )
    return layer


def _from_file(path: Path | None, faults: list[tuple[str, str]]) -> _Layer:
    layer = _Layer()
    if path is None:
        return layer
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append((str(path), f"cannot be read: {error.strerror}"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append((str(path), f"is not TOML: {error}"))
    else:
        layer.values.update(_flat(document))
        layer.names.update({key: f"{'.'.join(key)} in {path}" for key in layer.values})
    return layer


def _flat(document: Mapping[str, Any]) -> dict[Key, Any]:
    """Return the values of `document` by key; a table that is no section stays whole."""
    sections = {key[0] for key in setting_keys() if len(key) > 1}
    flat: dict[Key, Any] = {}
    for name, value in document.items():
        if name in sections and isinstance(value, Mapping):
            flat |= {(name, inner): part for inner, part in value.items()}
        else:
            flat[(name,)] = value
    return flat


def _nested(values: Mapping[Key, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        if len(key) > 1:
            nested.setdefault(key[0], {})[key[1]] = value
    # Last, so that a section that is no table at all does not hide behind its parts.
    return nested | {key[0]: value for key, value in values.items() if len(key) == 1}


def _fault(
    location: tuple[int | str, ...], details: Mapping[str, Any], origins: Mapping[Key, str]
) -> tuple[str, str]:
    """Return name and reason of one of pydantic's errors; no secret is repeated."""
    path = tuple(str(part) for part in location if part != "[key]")
    reason = details["msg"]
    match details["type"]:
        case "extra_forbidden":
            keys = list(setting_keys())
            dotted = [".".join(key) for key in keys] + sorted({key[0] for key in keys})
            reason = "no such setting" + _suggestion(".".join(path), dotted)
        case "model_type":
            reason = "must be a table"
        case "value_error":  # raised by our own validators, which choose what to repeat
            reason = reason.removeprefix("Value error, ")
        case _ if not _SECRET & {*path} and isinstance(details["input"], str | int | float):
            reason += f", not {str(details['input'])[:80]!r}"
    for length in range(len(path), 0, -1):
        name = origins.get(path[:length])
        if name is not None:
            inside = ".".join(path[length:])
            return name, f"{inside}: {reason}" if inside else reason
    return ".".join(path) or "settings", reason


def _suggestion(name: str, known: Mapping[str, Any] | list[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""
