"""A third node that both servers talk to, and the names by which all three know each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from tests.dcmtk import storescu
from tests.generated import ct_files
from tests.nodes import free_port, running
from tests.orthanc.side_by_side import SideBySide, ask
from tests.orthancs import RunningOrthanc, running_orthanc


@dataclass(frozen=True)
class ThreeNodes:
    """Both servers, and an Orthanc that knows them and has three studies to give."""

    servers: SideBySide
    third: RunningOrthanc
    store_port: int
    """Where a storage SCP may listen that all know as ``store``."""

    def urls(self) -> list[str]:
        return [self.servers.hilum.http_url, self.servers.orthanc.http_url]


#: Of the third node: PatientID, study, slices.
THERE = (("TEST-S1", "S1", 3), ("TEST-S2", "S2", 1), ("TEST-Ü", "Ü", 1))


@contextmanager
def three_nodes(folder: Path, **settings: str) -> Iterator[ThreeNodes]:
    """Run them; `settings` are Hilum's. Both servers hold the same two studies."""
    with (
        running(folder / "hilum", **settings) as hilum,
        running_orthanc(folder / "orthanc", LogExportedResources=True) as orthanc,
        running_orthanc(folder / "third", DicomAet="THIRD") as third,
    ):
        nodes = ThreeNodes(SideBySide(hilum, orthanc), third, free_port())
        nowhere = free_port()
        for url in nodes.urls():
            for name, known in {
                "third": ["THIRD", "127.0.0.1", third.dicom_port],
                "store": ["STORE", "127.0.0.1", nodes.store_port],
                "nobody": ["NOBODY", "127.0.0.1", nowhere],
            }.items():
                assert ask(url, f"/modalities/{name}", "PUT", known).status == 200
        for name, aet, port in (
            ("hilum", hilum.aet, hilum.dicom_port),
            ("orthanc", orthanc.aet, orthanc.dicom_port),
            ("store", "STORE", nodes.store_port),
        ):
            ask(third.http_url, f"/modalities/{name}", "PUT", [aet, "127.0.0.1", port])
        for patient, study, count in THERE:
            for path in ct_files(folder / study, count, study=study, PatientID=patient):
                content = path.read_bytes()
                urlopen(Request(f"{third.http_url}/instances", content, method="POST")).close()
        own = [*ct_files(folder / "X", 3, study="X"), *ct_files(folder / "Y", 2, study="Y")]
        for peer in (hilum.peer, ("-aec", orthanc.aet, "127.0.0.1", str(orthanc.dicom_port))):
            assert len(storescu(peer, *own).acknowledged) == len(own)
        yield nodes
