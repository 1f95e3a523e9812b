"""Both servers, once for each module."""

from collections.abc import Iterator

import pytest

from tests.nodes import running
from tests.orthanc.side_by_side import SideBySide
from tests.orthancs import running_orthanc


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    """A Hilum and an Orthanc, both empty, for the tests of a module."""
    folder = tmp_path_factory.mktemp("servers")
    with running(folder / "hilum") as hilum, running_orthanc(folder / "orthanc") as orthanc:
        yield SideBySide(hilum, orthanc)
