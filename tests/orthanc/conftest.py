"""Both servers, once for each module."""

import json
from collections.abc import Iterator

import pytest

from tests.nodes import running
from tests.orthanc.corpus import given_files, varied_files
from tests.orthanc.judged import SERVERS, Judged, judged_server, unique
from tests.orthanc.side_by_side import SideBySide
from tests.orthancs import running_orthanc


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    """A Hilum and an Orthanc, both empty, for the tests of a module."""
    folder = tmp_path_factory.mktemp("servers")
    metadata, attachments = {"CaseId": 1030}, {"report": 1031}
    with (
        running(
            folder / "hilum",
            HILUM_HTTP_USER_METADATA=json.dumps(metadata),
            HILUM_HTTP_USER_CONTENT_TYPES=json.dumps(attachments),
        ) as hilum,
        running_orthanc(
            folder / "orthanc", UserMetadata=metadata, UserContentType=attachments
        ) as orthanc,
    ):
        yield SideBySide(hilum, orthanc)


@pytest.fixture(scope="module")
def stored(servers: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    """Both servers with all the files in them."""
    servers.store([*varied_files(tmp_path_factory.mktemp("files")), *given_files()])
    return servers


@pytest.fixture(scope="module", params=SERVERS)
def judged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Judged]:
    """An Orthanc, then a Hilum, for the tests of a client's library."""
    with judged_server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """A name for a study of the test's own."""
    return unique(request)
