"""Senders that stall, that abort, and that lie about lengths."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from pydicom.uid import generate_uid

from scripts.chaos.case import case
from scripts.chaos.footprint import MEGABYTE, back, peak, settled
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series
from scripts.chaos.peer import (
    ABORT,
    Peer,
    associate_rq,
    data_set_of,
    data_set_pdus,
    item,
    pdu,
    pdv,
    store_rq,
)
from scripts.chaos.programs import echo_seconds, identities, send
from scripts.chaos.verdict import nothing_lost, spooled, unfinished
from scripts.chaos.waiting import wait_until
from scripts.node import Node

_DIMSE_SECONDS = 3
_HALF: Final = bytes(8192)


@case("stall", "20 senders that stop half-way through a PDU and say nothing more")
def stalling(ground: Ground, count: int = 20) -> str:
    """Fall silent in mid-instance, while others go on with their work."""
    node = ground.node(HILUM_DICOM_DIMSE_TIMEOUT_SECONDS=str(_DIMSE_SECONDS))
    files = write_series(ground.folder / "send", 20)
    send(node, files)
    before = settled(node)
    peers = [Peer(node.address) for _ in range(count)]
    for peer in peers:
        peer.associate()
        peer.send(store_rq(generate_uid()))
        peer.send(pdu(4, pdv(_HALF, command=False, last=False), len(_HALF) + 6))
        peer.send(pdu(4, pdv(_HALF, command=False, length=16386), 16390))  # half of one
    started = time.monotonic()
    wait_until(lambda: len(unfinished(node)) == count, 30, "all parts are begun")
    sent = send(node, files)
    assert sent.acknowledged == files
    answers = {peer.answer() for peer in peers}
    seconds = time.monotonic() - started
    for peer in peers:
        peer.close()
    assert answers == {"A-ABORT 2/0"}, answers
    wait_until(lambda: not unfinished(node), 10, "the parts go")
    nothing_lost(node, files)
    return (
        f"aborted by the node after {seconds:.1f} s (limit {_DIMSE_SECONDS} s), parts gone; "
        f"{len(files)} C-STOREs beside them {sent.seconds:.2f} s; {back(node, before)}"
    )


@case("abort", "1,000 stores aborted in mid-instance")
def aborting(ground: Ground, count: int = 1000) -> str:
    """Abort by A-ABORT, by closing, and by resetting the connection, in turn."""
    node = ground.node()
    files = write_series(ground.folder / "send", 5)
    send(node, files)
    _abort(node, count // 10)
    before = settled(node)
    started = time.monotonic()
    _abort(node, count)
    seconds = time.monotonic() - started
    wait_until(lambda: not spooled(node), 30, "no part stays")
    figures = back(node, before)
    assert send(node, files).acknowledged == files
    nothing_lost(node, files)
    return f"{count} in {seconds:.1f} s; no part left; {figures}"


def _abort(node: Node, count: int) -> None:
    for number in range(count):
        with Peer(node.address) as peer:
            peer.associate()
            peer.send(store_rq(generate_uid()))
            peer.send(pdu(4, pdv(_HALF, command=False, last=False)))
            if number % 3 == 0:
                peer.send(ABORT)
                peer.wait_closed()
            elif number % 3 == 1:
                peer.reset()


@dataclass(frozen=True)
class Lie:
    """What is said on a new connection, and what the node has to answer."""

    name: str
    say: Callable[[str, bytes], bytes]
    """Given the UID and the data set of a valid instance."""
    answer: str
    associated: bool = True


def _store(data: Callable[[bytes], bytes]) -> Callable[[str, bytes], bytes]:
    """Return a C-STORE that is right for the network, of a data set that is changed."""
    return lambda uid, valid: store_rq(uid) + data_set_pdus(data(valid))


def _part(pdv_length: int | None, pdu_length: int | None) -> Callable[[str, bytes], bytes]:
    """Return a C-STORE whose first piece of data has other lengths than it says."""

    def say(uid: str, valid: bytes) -> bytes:
        piece = pdv(valid[:8192], command=False, last=False, length=pdv_length)
        return store_rq(uid) + pdu(4, piece, pdu_length)

    return say


def _pixel_length(data: bytes, length: int) -> bytes:
    at = data.rindex(b"\xe0\x7f\x10\0OW\0\0") + 8
    return data[:at] + length.to_bytes(4, "little") + data[at + 4 :]


def _with_sequence(data: bytes, length: int, item_length: int) -> bytes:
    """Put a Referenced Study Sequence in front whose lengths are as given."""
    head = b"\x08\0\x10\x11SQ\0\0" + length.to_bytes(4, "little")
    sequence = head + b"\xfe\xff\0\xe0" + item_length.to_bytes(4, "little") + bytes(16)
    at = data.index(b"\x10\0\x10\0PN")  # Patient's Name, the first one behind group 0008
    return data[:at] + sequence + data[at:]


_FOUR_GIGABYTES: Final = 0xFFFFFFFF
LIES: Final = (
    Lie("PDV longer than its PDU", _part(_FOUR_GIGABYTES, None), "A-ABORT 2/6"),
    Lie("PDV of 1 byte", _part(1, None), "A-ABORT 2/6"),
    Lie("PDU that ends in the head of a PDV", _part(None, 3), "A-ABORT 2/6"),
    Lie("PDU shorter than its PDV", _part(None, 4096), "A-ABORT 2/6"),
    Lie(
        "data set of 4 GB in one PDU, that ends early",
        _part(_FOUR_GIGABYTES - 4, _FOUR_GIGABYTES),
        "A-ABORT 2/0",
    ),
    Lie(
        "association request of 4 GB",
        lambda _, __: pdu(1, associate_rq()[6:], _FOUR_GIGABYTES),
        "A-ABORT 2/6",
        associated=False,
    ),
    Lie(
        "item longer than its association request",
        lambda _, __: pdu(1, associate_rq()[6:-12] + item(0x50, bytes(8))[:6]),
        "A-ABORT 2/6",
        associated=False,
    ),
    Lie("release request of 4 GB", lambda _, __: pdu(5, bytes(4), _FOUR_GIGABYTES), "A-ABORT 2/6"),
    Lie("element longer than its data set", _store(lambda d: d[: len(d) // 2]), "status C000"),
    Lie(
        "pixel data of 4 GB in 32 kB",
        _store(lambda d: _pixel_length(d, _FOUR_GIGABYTES - 15)),
        "status C000",
    ),
    Lie(
        "sequence longer than its data set",
        _store(lambda d: _with_sequence(d, 0x7FFFFFFE, 16)),
        "status C000",
    ),
    Lie(
        "item longer than its sequence",
        # Whoever passes over the sequence by its own length is not misled: kept as it came.
        _store(lambda d: _with_sequence(d, 24, 0x7FFFFFFE)),
        "status 0000",
    ),
)


@case("lies", "senders that lie about lengths, each lie 20 times")
def lying(ground: Ground, times: int = 20) -> str:
    """Announce what does not come, and send what was not announced."""
    node = ground.node(
        HILUM_DICOM_DIMSE_TIMEOUT_SECONDS=str(_DIMSE_SECONDS),
        HILUM_DICOM_ACSE_TIMEOUT_SECONDS=str(_DIMSE_SECONDS),
    )
    files = write_series(ground.folder / "send", 5)
    [lied] = write_series(ground.folder / "lie", 1)
    [identity] = identities([lied])
    assert send(node, files).acknowledged == files
    _tell(node, LIES[0], identity.sop_instance_uid, data_set_of(lied), 20)
    before = settled(node)
    answers = {}
    with peak(node, before) as most:
        for lie in LIES:
            answers[lie.name] = _tell(
                node, lie, identity.sop_instance_uid, data_set_of(lied), times
            )
    wrong = {lie.name: answers[lie.name] for lie in LIES if answers[lie.name] != {lie.answer}}
    assert not wrong, wrong
    wait_until(lambda: not spooled(node), 10, "no part stays")
    assert most.growth_bytes < 32 * MEGABYTE
    echo = echo_seconds(node)
    assert send(node, files).acknowledged == files
    nothing_lost(node, files)
    seen = "; ".join(f"{name}: {lie_answers.pop()}" for name, lie_answers in answers.items())
    return (
        f"{seen}. At most {most.growth_bytes / MEGABYTE:.0f} MB more; no part left; C-ECHO "
        f"afterwards {echo:.2f} s; {back(node, before)}"
    )


def _tell(node: Node, lie: Lie, uid: str, data: bytes, times: int) -> set[str]:
    """Tell a lie on so many connections at once; return what was answered."""
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(node.address)) for _ in range(times)]
        for peer in peers:
            if lie.associated:
                peer.associate()
            peer.send(lie.say(uid, data))
        return {peer.answer() for peer in peers}
