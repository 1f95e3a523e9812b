"""One map from domain errors to statuses: every error has its place."""

from collections.abc import Iterator

import orjson
import pytest

from hilum.core import errors
from hilum.core.errors import HilumError
from hilum.http.archive import Archive
from hilum.http.errors import error_response, status_of
from hilum.http.multipart import Malformed

#: Written down once more on purpose: programs are written against these.
EXPECTED = {
    errors.HilumError: (500, "error"),
    errors.NotFound: (404, "not-found"),
    errors.NoPixelData: (404, "no-pixel-data"),
    errors.UnknownPeer: (404, "unknown-peer"),
    errors.Invalid: (400, "invalid"),
    errors.NotDicom: (400, "not-dicom"),
    errors.IdentityMismatch: (400, "identity-mismatch"),
    errors.Unsupported: (415, "unsupported"),
    errors.Undecodable: (415, "undecodable"),
    errors.Conflict: (409, "conflict"),
    errors.Temporary: (503, "temporary"),
    errors.StorageFull: (507, "storage-full"),
    errors.StorageUnavailable: (503, "storage-unavailable"),
    errors.IndexUnavailable: (503, "index-unavailable"),
    errors.PeerUnreachable: (502, "peer-unreachable"),
    errors.PeerRefused: (502, "peer-refused"),
    errors.Corrupt: (500, "corrupt"),
    Archive: (400, "bad-archive"),
    Malformed: (400, "malformed-multipart"),
}


def family(kind: type[HilumError]) -> Iterator[type[HilumError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_no_error_of_the_core_is_missing_here() -> None:
    here = {kind for kind in family(HilumError) if kind.__module__ == errors.__name__}
    assert here <= EXPECTED.keys()


@pytest.mark.parametrize("kind", EXPECTED)
def test_an_error_is_answered_with_its_status_and_code(kind: type[HilumError]) -> None:
    status, code = EXPECTED[kind]
    answer = error_response(kind("the reason"))
    assert (answer.status, status_of(kind("x"))) == (status, status)
    assert isinstance(answer.body, bytes)
    assert orjson.loads(answer.body) == {
        "success": False,
        "error": {"code": code, "message": "the reason"},
    }
    assert ("Retry-After" in answer.headers) == (status == 503)
