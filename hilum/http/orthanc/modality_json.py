"""A modality in Orthanc's JSON: as a list of three or four, or with all that can be said."""

import re
from collections.abc import Mapping
from typing import Any, Final

from hilum.core.peer import MODALITY_OPTIONS, Modality, Peer
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, OUT_OF_RANGE, Refusal
from hilum.http.orthanc.network_body import member

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
#: Printable, without a backslash.
_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}")
_LONGEST_SECONDS: Final = 24 * 3600
#: Habits that queries respect, and the names of old that mean none.
_MANUFACTURERS: Final = frozenset(
    {
        *("Generic", "GenericNoWildcardInDates", "GenericNoUniversalWildcard", "Vitrea", "GE"),
        *("StoreScp", "ClearCanvas", "Dcm4Chee", "SyngoVia", "AgfaImpax", "EFilm2", "MedInria"),
    }
)


def modality_json(modality: Modality) -> dict[str, Any]:
    """Return what is known of a modality."""
    return {
        **modality.options,
        "AET": modality.peer.ae_title,
        "Host": modality.peer.host,
        "LocalAet": modality.local_ae_title,
        "Manufacturer": modality.manufacturer,
        "Port": modality.peer.port,
        "Timeout": modality.timeout_seconds,
    }


def read_modality(name: str, body: Any) -> Modality:
    """Return a modality as a client describes it.

    Raises
    ------
    Refusal
        That is no description of one, or no name.
    Refusal
        A value cannot be right.
    """
    if not _NAME.fullmatch(name):
        raise Refusal(
            BAD_FILE_FORMAT,
            "Only alphanumeric, dash characters and underscores are allowed in the names of "
            f"modalities/peers, but found: {name}",
        )
    if isinstance(body, list) and len(body) in {3, 4}:
        body = dict(zip(("AET", "Host", "Port", "Manufacturer"), body, strict=False))
    if not isinstance(body, Mapping) or not {"AET", "Host", "Port"} <= body.keys():
        raise Refusal(BAD_FILE_FORMAT, "a modality is AET, Host and Port")
    manufacturer = member(body, "Manufacturer", "Generic")
    if manufacturer not in _MANUFACTURERS:
        raise Refusal(OUT_OF_RANGE, f'Unknown modality manufacturer: "{manufacturer}"')
    return Modality(
        name=name,
        peer=Peer(ae_title(member(body, "AET", "")), _host(body), _port(body["Port"])),
        manufacturer=manufacturer,
        local_ae_title=ae_title_in(body, "LocalAet"),
        timeout_seconds=timeout_in(body),
        options={key: member(body, key, value) for key, value in MODALITY_OPTIONS.items()},
    )


def ae_title_in(body: Mapping[str, Any], name: str) -> str:
    """Return the AE title that a member of a body is; empty if there is none.

    Raises
    ------
    Refusal
        It is something else.
    """
    text = member(body, name, "")
    return ae_title(text) if text else ""


def timeout_in(body: Mapping[str, Any]) -> float:
    """Return how long a body wants to wait, in seconds; 0 if it does not say.

    Raises
    ------
    Refusal
        It is no time.
    """
    seconds = member(body, "Timeout", 0)
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise Refusal(OUT_OF_RANGE, f"Timeout is from 0 to {_LONGEST_SECONDS} seconds")
    return seconds


def ae_title(text: str) -> str:
    """Return an AE title without the blanks around it (PS3.5 6.2).

    Raises
    ------
    Refusal
        It is none.
    """
    title = text.strip()
    if not _AE_TITLE.fullmatch(title):
        raise Refusal(OUT_OF_RANGE, f"not an AE title: {title[:40]!r}")
    return title


def _host(body: Mapping[str, Any]) -> str:
    host = member(body, "Host", "")
    if not host or not host.isprintable() or " " in host:
        raise Refusal(OUT_OF_RANGE, "no host")
    return host


def _port(value: Any) -> int:
    try:
        port = int(value)  # old configurations have it as text
    except (TypeError, ValueError):
        raise Refusal(BAD_FILE_FORMAT, "a port is a number") from None
    if not 0 < port < 0xFFFF:
        raise Refusal(
            OUT_OF_RANGE, f"A TCP port number must be in range [1..65534], but found: {port}"
        )
    return port
