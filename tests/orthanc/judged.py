"""One server under judgement by a client's library, and what there is around it.

Each test of a library runs against Debian's Orthanc and against Hilum, with the same
assertions: what a library makes of an Orthanc, it has to make of a Hilum.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import pytest

from hilum.core.identifiers import public_id
from tests.generated import ct_files, uid
from tests.nodes import free_port, running
from tests.orthanc.side_by_side import ask
from tests.orthancs import RunningOrthanc, running_orthanc

SERVERS = ("orthanc", "hilum")
#: In the other node: study, slices. Its patients are called ``TEST-`` and the study.
THERE = (("there", 3), ("elsewhere", 1))


@dataclass(frozen=True)
class Judged:
    """A server, what it is called, and another node that it knows as ``other``."""

    url: str
    aet: str
    dicom_port: int
    other: RunningOrthanc
    store_port: int
    """Where a storage SCP may listen that it knows as ``store``."""


@contextmanager
def judged_server(kind: str, folder: Path) -> Iterator[Judged]:
    """Run the server of a kind, empty."""
    with running_orthanc(folder / "other", DicomAet="OTHER") as other:
        if kind == "orthanc":
            server = running_orthanc(folder / "orthanc", LogExportedResources=True)
        else:
            server = running(folder / "hilum", HILUM_EVENTS_STABLE_AFTER_SECONDS="1")
        with server as it:
            store_port = free_port()
            for name, known in {
                "other": ["OTHER", "127.0.0.1", other.dicom_port],
                "store": ["STORE", "127.0.0.1", store_port],
                "nobody": ["NOBODY", "127.0.0.1", free_port()],
            }.items():
                assert ask(it.http_url, f"/modalities/{name}", "PUT", known).status == 200
            known = [it.aet, "127.0.0.1", it.dicom_port]
            assert ask(other.http_url, "/modalities/judged", "PUT", known).status == 200
            for study, count in THERE:
                for path in ct_files(folder / study, count, study=study):
                    ask(other.http_url, "/instances", "POST", path.read_bytes())
            yield Judged(it.http_url, it.aet, it.dicom_port, other, store_port)


def patient_id(study: object) -> str:
    return public_id(f"TEST-{study}")


def study_id(study: object) -> str:
    """Return Orthanc's id of a generated study."""
    return public_id(f"TEST-{study}", uid(study))


def series_id(study: object, series: object = 1) -> str:
    return public_id(f"TEST-{study}", uid(study), uid(study, series))


def instance_id(study: object, number: int = 1, series: object = 1) -> str:
    return public_id(f"TEST-{study}", uid(study), uid(study, series), uid(study, series, number))


def unique(request: pytest.FixtureRequest) -> str:
    """Return a name for the study of a test, other than that of any other test."""
    name: str = request.node.originalname or request.node.name
    return f"{crc32(name.encode()):08x}"
