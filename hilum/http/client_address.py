"""Whom a request comes from, behind proxies too."""

import ipaddress
from typing import Final

from aiohttp import web

from hilum.http.dicomweb.urls import TRUSTED_PROXIES

#: What one customer of a provider has of IPv6, at the least: all of it is one client.
_IPV6_PREFIX: Final = 64


def client_address(request: web.Request) -> str:
    """Return the address of the client of a request; of IPv6, its network.

    Each proxy on the way adds whom it was asked by to ``X-Forwarded-For``. That is believed of
    those that are trusted: the client is the last one that is no such proxy. What a client has
    written there itself stands in front of that.

    Returns
    -------
    str
        Such as ``192.0.2.7`` or ``2001:db8::/64``; empty where there is no network.
    """
    told = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    networks = request.app[TRUSTED_PROXIES]
    client = ""
    for text in (request.remote or "", *reversed(told)):
        try:
            address = ipaddress.ip_address(text.strip())
        except ValueError:
            break
        address = getattr(address, "ipv4_mapped", None) or address
        if address.version == 6:
            client = str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
        else:
            client = str(address)
        if not any(address in network for network in networks):
            break
    return client
