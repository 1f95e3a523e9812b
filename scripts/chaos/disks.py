"""Disks that are full, or take no writes."""

from scripts.chaos.case import case
from scripts.chaos.footprint import MEGABYTE, back, settled
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series, write_sparse
from scripts.chaos.mounts import read_only
from scripts.chaos.programs import OUT_OF_RESOURCES, send, send_at_once
from scripts.chaos.verdict import nothing_lost, spooled, unfinished
from scripts.chaos.waiting import wait_until
from scripts.node import Node

_DISK_BYTES = 64 * MEGABYTE
_BALLAST_BYTES = 16 * MEGABYTE
_SIDE = 512  # half a megabyte an instance
_ASSOCIATIONS = 4
_EACH = 30  # more than fit, ballast or not


@case("disk-full", "disk full in mid-instance (a tmpfs of 64 MB), then room again")
def disk_full(ground: Ground) -> str:
    """Fill the disk by what is sent, on four associations and by one large object."""
    return _fill(ground, reserve_bytes=0)


@case("disk-reserve", "the disk reserve reached, then room again")
def disk_reserve(ground: Ground) -> str:
    """Come down to the reserve: what was accepted is indexed although nothing more is."""
    return _fill(ground, reserve_bytes=16 * MEGABYTE)


def _fill(ground: Ground, reserve_bytes: int) -> str:
    mongod = ground.mongod()
    disk = ground.disk(_DISK_BYTES)
    node = ground.node(
        disk.path,
        HILUM_MONGODB_URI=mongod.uri,
        HILUM_STORAGE_DISK_RESERVE=str(reserve_bytes),
    )
    ballast = disk.path / "ballast"
    ballast.write_bytes(bytes(_BALLAST_BYTES))
    warm_up = write_series(ground.folder / "warm-up", 10)
    send(node, warm_up)
    before = settled(node)

    large = write_sparse(ground.folder / "large.dcm", _DISK_BYTES)
    statuses = send(node, [large]).statuses
    assert statuses == {large: OUT_OF_RESOURCES}, statuses
    _nothing_half_written(node)

    series = [
        write_series(ground.folder / f"send-{number}", _EACH, _SIDE)
        for number in range(_ASSOCIATIONS)
    ]
    sent = send_at_once(node, series)
    kept = sent.acknowledged
    refused = [path for path in sent.statuses if path not in kept]
    assert kept
    assert refused
    assert {sent.statuses[path] for path in refused} == {OUT_OF_RESOURCES}
    _nothing_half_written(node)
    health = node.health("/storage")
    still_full = ""
    if reserve_bytes:
        assert health == 503
        found = nothing_lost(node, warm_up + kept)
        still_full = f", what was accepted found {found:.1f} s later, still full"

    ballast.unlink()
    wait_until(lambda: node.health("/storage") == 200, 10, "health recovers")
    again = send(node, refused[: _BALLAST_BYTES // MEGABYTE])
    assert len(again.acknowledged) == len(again.statuses), "room, and still refused"
    found = nothing_lost(node, warm_up + kept + again.acknowledged)
    return (
        f"an object of 64 MB: A700; of {len(sent.statuses)} instances on {_ASSOCIATIONS} "
        f"associations {len(kept)} accepted, {len(refused)} A700; no part left, "
        f"`/health/storage` {health}{still_full}; with room again {len(again.acknowledged)} of "
        f"{len(again.statuses)} accepted without a restart, 0 lost, all found {found:.1f} s "
        f"later; {back(node, before)}"
    )


@case("read-only", "the data folder turns read-only under the running node, and back")
def read_only_folder(ground: Ground) -> str:
    """Refuse while nothing can be written, and go on by itself when it can."""
    mongod = ground.mongod()
    node = ground.node(HILUM_MONGODB_URI=mongod.uri)
    early = write_series(ground.folder / "early", 20)
    late = write_series(ground.folder / "late", 20)
    assert send(node, early).acknowledged == early
    before = settled(node)
    with read_only(node.data_dir):
        sent = send(node, late)
        assert set(sent.statuses.values()) == {OUT_OF_RESOURCES}, sent.statuses
        health = node.health("/storage")
        assert health == 503
        nothing_lost(node, early)
    assert send(node, late).acknowledged == late
    found = nothing_lost(node, early + late)
    return (
        f"{len(late)} of {len(late)} A700, `/health/storage` {health}, earlier studies found all "
        f"the time; then {len(late)} of {len(late)} accepted without a restart, found "
        f"{found:.1f} s later; {back(node, before)}"
    )


@case("store-read-only", "only the store turns read-only, the spool does not, and back")
def read_only_store(ground: Ground) -> str:
    """Accept into the spool what the store does not take, and promote it afterwards."""
    mongod = ground.mongod()
    node = ground.node(HILUM_MONGODB_URI=mongod.uri)
    send(node, write_series(ground.folder / "warm-up", 20))
    before = settled(node)
    files = write_series(ground.folder / "send", 40)
    with read_only(node.data_dir / "objects"):
        sent = send(node, files)
        waiting = len(spooled(node))
        health = node.health("/storage")
    assert sent.acknowledged == files, "refused what the spool could keep"
    found = nothing_lost(node, sent.acknowledged)
    return (
        f"{len(sent.acknowledged)} of {len(files)} accepted into the spool ({waiting} waiting), "
        f"`/health/storage` {health}; association {sent.seconds:.1f} s, its wait included; all "
        f"found {found:.1f} s after the store was back; {back(node, before)}"
    )


def _nothing_half_written(node: Node) -> None:
    wait_until(lambda: not unfinished(node), 10, "nothing half-written stays")
