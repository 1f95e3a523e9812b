"""Connections spread evenly over those who accept on one socket."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest

from hilum.core.listening import listen
from hilum.scp.acceptor import Admission
from hilum.scp.association import TimeLimits
from hilum.scp.request import Services
from hilum.scp.server import Server
from hilum.scp.shares import Shares
from tests.nodes import wait_until

# Silent connections need nothing of the node but its patience.
NOTHING = cast("Any", None)
SERVICES = Services("HILUM", NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, {}, TimeLimits())


@pytest.fixture
def shares() -> Iterator[Shares]:
    shares = Shares(2)
    yield shares
    shares.close()


@pytest.fixture
def servers(shares: Shares) -> Iterator[list[Server]]:
    with listen("127.0.0.1", 0, "DICOM") as listener:
        servers = [
            Server("", 0, Admission("HILUM"), SERVICES, listener=listener.dup(), shares=(shares, n))
            for n in range(2)
        ]
        for server in servers:
            server.start()
        yield servers
        for server in servers:
            server.stop(0)


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port))


def connections(servers: list[Server]) -> list[int]:
    return [server.connections for server in servers]


def test_who_has_fewer_takes_the_next(servers: list[Server]) -> None:
    with ExitStack() as stack:
        for count in range(1, 21):
            stack.enter_context(connect(servers[0]))
            wait_until(lambda count=count: sum(connections(servers)) == count)  # type: ignore[misc]
            assert max(connections(servers)) - min(connections(servers)) <= 1
    wait_until(lambda: connections(servers) == [0, 0], what="places are given back")


def test_connections_at_once_are_spread(servers: list[Server]) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(servers[0]))
        wait_until(lambda: connections(servers) == [4, 4])


def test_who_is_gone_or_hangs_is_not_waited_for(servers: list[Server], shares: Shares) -> None:
    servers[1].stop(0)
    shares_of_a_late_one = Shares(2, os.dup(shares.descriptor))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(servers[0]))
        wait_until(lambda: connections(servers) == [3, 0])
        assert shares.fewest() == 3
        shares_of_a_late_one.tell(1, 0)  # it says that it is there, and takes nothing
        stack.enter_context(connect(servers[0]))
        wait_until(lambda: connections(servers) == [4, 0])
    shares_of_a_late_one.close()
