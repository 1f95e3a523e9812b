"""Where a client reaches this node, as it has to stand in Retrieve URLs and bulk data URIs.

Behind a reverse proxy the request itself names an address that nobody outside can reach;
the proxy says what the client had asked for, in ``Forwarded`` (RFC 7239) or in its
customary forerunners ``X-Forwarded-*``. That is believed of the proxies that are trusted,
and of nobody else. What is not well formed is passed over: it ends up in URLs.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from aiohttp import web

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Where DICOMweb is, below the address of the node.
SERVICE_PATH: Final = "/dicom-web"
#: Whose word is taken for how the client reached this node; of the application.
TRUSTED_PROXIES: Final = web.AppKey("trusted_proxies", tuple[Network, ...])

_HOST: Final = re.compile(r"([0-9A-Za-z_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")
_PREFIX: Final = re.compile(r"(/[0-9A-Za-z._~!$&'()*+,;=:@%-]+)*/?")
_PORT: Final = re.compile(r"\d{1,5}")
_SCHEMES: Final = frozenset({"http", "https"})
_STANDARD_PORTS: Final = {"http": "80", "https": "443"}
# A parameter of RFC 7239: a token, "=", and a token or a quoted string.
_PARAMETER: Final = re.compile(
    r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(?:;|$)"""
)


def trusted_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks that ``10.0.0.0/8``, ``::1`` and the like stand for; ``*`` is all.

    Raises
    ------
    ValueError
        One is none.
    """
    networks: list[Network] = []
    for text in texts:
        everything = ("0.0.0.0/0", "::/0") if text == "*" else (text,)
        networks += (ipaddress.ip_network(each, strict=False) for each in everything)
    return tuple(networks)


def service_url(request: web.Request) -> str:
    """Return the URL of DICOMweb as the client of `request` reaches it.

    Returns
    -------
    str
        Such as ``https://pacs.example.org/hilum/dicom-web``, without a slash at its end.
    """
    return base_url(request) + SERVICE_PATH


def base_url(request: web.Request) -> str:
    """Return the URL of the node as the client of `request` reaches it, without a last slash."""
    scheme, host = request.scheme, request.host
    if _is_trusted(request):
        told = dict(_forwarded(request))
        scheme = told.get("proto", scheme)
        host = _with_port(told.get("host", host), told.get("port"), scheme)
    if not _HOST.fullmatch(host):
        # It goes into an answer: better an address that may not be the client's.
        host = _own_address(request)
    return f"{scheme}://{host}{prefix(request)}"


def prefix(request: web.Request) -> str:
    """Return the path that a proxy takes away in front of the node's own; most often empty."""
    if not _is_trusted(request):
        return ""
    return dict(_forwarded(request)).get("prefix", "").rstrip("/")


def _is_trusted(request: web.Request) -> bool:
    try:
        peer = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return False  # not on a network
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in network for network in request.app[TRUSTED_PROXIES])


def _forwarded(request: web.Request) -> Iterator[tuple[str, str]]:
    """Yield what proxies say of the client's request; later ones go before earlier ones.

    Of several proxies the first entry is of the one that the client talked to.
    """
    headers = request.headers
    for name, header, valid in (
        ("proto", "X-Forwarded-Proto", _is_scheme),
        ("host", "X-Forwarded-Host", _HOST.fullmatch),
        ("port", "X-Forwarded-Port", _PORT.fullmatch),
        ("prefix", "X-Forwarded-Prefix", _PREFIX.fullmatch),
    ):
        value = headers.get(header, "").split(",")[0].strip()
        if value and valid(value):
            yield name, value.lower() if name == "proto" else value
    first = re.match(r'(?:[^,"]|"(?:[^"\\]|\\.)*")*', ",".join(headers.getall("Forwarded", [])))
    for parameter in _PARAMETER.finditer(first[0] if first else ""):
        name, value = parameter[1].lower(), parameter[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        if (name == "proto" and _is_scheme(value)) or (name == "host" and _HOST.fullmatch(value)):
            yield name, value.lower() if name == "proto" else value


def _is_scheme(text: str) -> bool:
    return text.lower() in _SCHEMES


def _with_port(host: str, port: str | None, scheme: str) -> str:
    """Return the host with a port that the proxy names apart, unless it is the standard one."""
    has_port = host.rpartition("]")[2].count(":") == 1
    if port is None or has_port or port == _STANDARD_PORTS[scheme]:
        return host
    return f"{host}:{port}"


def _own_address(request: web.Request) -> str:
    name = request.transport.get_extra_info("sockname") if request.transport else None
    host, port = name[:2] if name else ("localhost", 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
