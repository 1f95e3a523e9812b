"""Crowds: connections that say nothing, probes that come and go, many senders at once."""

import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from scripts.chaos.case import case
from scripts.chaos.footprint import MEGABYTE, back, peak, settled
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series
from scripts.chaos.peer import Peer, data_set_of
from scripts.chaos.programs import echo_seconds, identities, send
from scripts.chaos.verdict import nothing_lost
from scripts.node import Node

_ARTIM_SECONDS = 5


@case("silent", "500 connections that say nothing")
def silent_connections(ground: Ground, count: int = 500) -> str:
    """Hold connections open without a word, while others go on with their work."""
    _allow_descriptors(count)
    node = ground.node(HILUM_DICOM_ACSE_TIMEOUT_SECONDS=str(_ARTIM_SECONDS))
    files = write_series(ground.folder / "send", 20)
    send(node, files)
    before = settled(node)
    with ExitStack() as stack, peak(node, before) as most:
        started = time.monotonic()
        silent = [
            stack.enter_context(socket.create_connection(node.address, 30)) for _ in range(count)
        ]
        echo = echo_seconds(node)
        sent = send(node, files)
        assert sent.acknowledged == files
        for connection in silent:
            connection.settimeout(60)
            assert connection.recv(1) == b"", "a silent connection is told something"
        closed = time.monotonic() - started
    assert closed < 3 * _ARTIM_SECONDS + 10
    assert most.growth_bytes < 64 * MEGABYTE
    nothing_lost(node, files)
    return (
        f"C-ECHO beside them {echo:.2f} s, {len(files)} C-STOREs {sent.seconds:.2f} s; "
        f"up to {most.threads} threads, {most.growth_bytes / MEGABYTE:.0f} MB more; all closed "
        f"by the node {closed:.1f} s after the first came (ARTIM {_ARTIM_SECONDS} s); "
        f"{back(node, before)}"
    )


@case("probes", "5,000 connections opened and closed at once")
def probes(ground: Ground, count: int = 5000) -> str:
    """Probe the port as load balancers do."""
    node = ground.node()
    files = write_series(ground.folder / "send", 5)
    send(node, files)
    _probe(node, count // 10)
    before = settled(node)
    started = time.monotonic()
    _probe(node, count)
    seconds = time.monotonic() - started
    figures = back(node, before)
    assert send(node, files).acknowledged == files
    nothing_lost(node, files)
    return f"{count} in {seconds:.1f} s; {figures}"


def _probe(node: Node, count: int) -> None:
    for _ in range(count):
        socket.create_connection(node.address, 30).close()


@case("crowd", "200 associations storing at the same time")
def crowd(ground: Ground, associations: int = 200, each: int = 5) -> str:
    """Have all associations first, and then store on all of them at once."""
    _allow_descriptors(associations)
    node = ground.node()
    warm_up = write_series(ground.folder / "warm-up", 20)
    send(node, warm_up)
    series = [
        write_series(ground.folder / f"send-{number}", each, side=256)
        for number in range(associations)
    ]
    instances = [
        [
            (identity.sop_instance_uid, data_set_of(path))
            for path, identity in zip(paths, identities(paths), strict=True)
        ]
        for paths in series
    ]
    before = settled(node)
    with ExitStack() as stack, peak(node, before) as most:
        peers = [stack.enter_context(Peer(node.address)) for _ in series]
        with ThreadPoolExecutor(associations) as pool:
            list(pool.map(Peer.associate, peers))
            started = time.monotonic()
            slowest = max(pool.map(_store_all, peers, instances))
        seconds = time.monotonic() - started
    files = [path for paths in series for path in paths]
    found = nothing_lost(node, files)
    return (
        f"{len(files)} instances accepted in {seconds:.1f} s ({len(files) / seconds:.0f}/s), "
        f"slowest answer {slowest:.2f} s; all found {found:.1f} s later; up to {most.threads} "
        f"threads, {most.growth_bytes / MEGABYTE:.0f} MB more; "
        f"{back(node, before, 64 * MEGABYTE)}"
    )


def _store_all(peer: Peer, instances: list[tuple[str, bytes]]) -> float:
    slowest = 0.0
    for sop_instance_uid, data in instances:
        started = time.monotonic()
        status = peer.store(sop_instance_uid, data)
        slowest = max(slowest, time.monotonic() - started)
        assert status == 0, f"{status:04X}"
    peer.release()
    return slowest


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 256
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
