"""What callers are told while the index is away, and what they need not notice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from hilum.core.peer import Peer
from hilum.imaging.workers import DecodeWorkers
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.scp.acceptor import Admission
from hilum.scp.server import Server
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search
from tests.integration.peers import (
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    RawPeer,
    calling,
    encode,
    query_rq,
)
from tests.integration.scp_node import scp_node


@pytest.fixture
def peer(mongodb_uri: str, tmp_path: Path) -> Iterator[RawPeer]:
    """A caller of a node whose index does not answer."""

    async def nowhere() -> Database:
        socket = str(tmp_path / "nobody.sock").replace("/", "%2F")
        return Database.connect(f"mongodb://{socket}", timeout_seconds=0.2)

    with scp_node(tmp_path / "node", mongodb_uri) as node:
        crossing = node.services.crossing
        database = crossing.call(nowhere())
        catalogue = Catalogue(database)
        services = replace(
            node.services,
            search=Search(catalogue),
            retrieve=Retrieve(catalogue, node.store, DecodeWorkers(), crossing),
            destination={"DEST": Peer("DEST", "127.0.0.1", 1)}.get,
        )
        server = Server("127.0.0.1", 0, Admission("HILUM"), services)
        server.start()
        try:
            with calling(("127.0.0.1", server.port)) as raw:
                raw.associate([(uid, [IMPLICIT]) for uid in (STUDY_FIND, STUDY_MOVE, STUDY_GET)])
                yield raw
        finally:
            server.stop()
            database.close()


@pytest.mark.parametrize(
    ("context_id", "field", "sop_class_uid", "status"),
    [
        (1, 0x20, STUDY_FIND, 0xA700),
        (3, 0x21, STUDY_MOVE, 0xA701),
        (5, 0x10, STUDY_GET, 0xA701),
    ],
)
def test_index_away_is_said_in_the_terms_of_the_service(
    peer: RawPeer, context_id: int, field: int, sop_class_uid: str, status: int
) -> None:
    request = Dataset()
    request.QueryRetrieveLevel = "STUDY"
    request.StudyInstanceUID = "1.2.3"
    more = {"MoveDestination": "DEST"} if field == 0x21 else {}
    for message_id in (1, 2):  # and the association goes on
        peer.request(
            context_id, query_rq(field, sop_class_uid, message_id, **more), encode(request)
        )
        response = peer.receive()
        assert response.status == status
        assert response.command.ErrorComment


def test_who_is_refused_in_the_middle_of_a_value_keeps_the_association(peer: RawPeer) -> None:
    # One value, so that the node gives up in the middle of it, wherever the network cuts.
    peer.request(1, query_rq(0x20, STUDY_FIND, 1), bytes(5 << 20))
    assert peer.receive().status == 0xA900
    request = Dataset()
    request.QueryRetrieveLevel = "STUDY"
    request.StudyInstanceUID = "1.2.3"
    peer.request(1, query_rq(0x20, STUDY_FIND, 2), encode(request))
    assert peer.receive().status == 0xA700
