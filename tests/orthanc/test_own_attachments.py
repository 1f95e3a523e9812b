"""Files that clients attach to resources, side by side."""

import hashlib

import pytest

from tests.generated import ct_files
from tests.orthanc.judged import instance_id, patient_id, series_id, study_id
from tests.orthanc.side_by_side import SideBySide, ask

#: More than GridFS keeps in one piece.
LONG = bytes(range(256)) * 3000


@pytest.fixture(scope="module", autouse=True)
def _stored(servers: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> None:
    servers.store(ct_files(tmp_path_factory.mktemp("files"), 1, study="own"))


@pytest.mark.parametrize(
    "path",
    [
        f"/patients/{patient_id('own')}",
        f"/studies/{study_id('own')}",
        f"/series/{series_id('own')}",
        f"/instances/{instance_id('own')}",
    ],
)
def test_attachment_is_kept_replaced_and_forgotten(servers: SideBySide, path: str) -> None:
    before = servers.same(f"{path}/attachments")
    one = f"{path}/attachments/1024"
    for content in (b"first", LONG, b""):
        ours, theirs = servers.both(one, "PUT", content)
        assert (ours.status, ours.json) == (theirs.status, theirs.json) == (200, {})
        # Of the revision in front of it, Orthanc 1.10.1 loses count.
        assert ours.headers["etag"].split("-")[1] == theirs.headers["etag"].split("-")[1]
        assert servers.same(f"{path}/attachments") == [*before, "1024"]
        told, data = servers.both(f"{one}/data")
        assert told.body == data.body == content
        assert told.media_type == data.media_type
        for operation in ("size", "md5", "is-compressed", "compressed-size", "compressed-md5"):
            servers.same(f"{one}/{operation}")
        info = servers.same(f"{one}/info", differs=("Uuid",))
        assert info["UncompressedMD5"] == hashlib.md5(content).hexdigest()
        servers.same(f"{one}/verify-md5", "POST", b"")
    servers.same(one, "DELETE")
    assert servers.same(f"{path}/attachments") == before
    for operation in ("", "/data", "/size"):
        ours, theirs = servers.both(one + operation)
        assert ours.status == theirs.status == 404
    ours, theirs = servers.both(one, "DELETE")
    assert ours.status == theirs.status == 404


def test_attachment_with_a_name_has_a_number_too(servers: SideBySide) -> None:
    for resource in (f"/studies/{study_id('own')}", f"/instances/{instance_id('own')}"):
        path = f"{resource}/attachments"
        servers.same(f"{path}/report", "PUT", b"seen")
        servers.same(f"{path}/1040", "PUT", b"more")
        assert servers.same(f"{path}/1031/data") == servers.same(f"{path}/report/data") == b"seen"
        assert "report" in servers.same(path)
        assert servers.same(f"{path}?full")["report"] == 1031
        servers.same(f"{path}/report", "DELETE")
        servers.same(f"{path}/1040", "DELETE")


@pytest.mark.parametrize(
    ("name", "status"), [("12", 403), ("dicom", 403), ("70000", 403), ("x", 404)]
)
def test_other_names_are_not_for_clients(servers: SideBySide, name: str, status: int) -> None:
    path = f"/studies/{study_id('own')}/attachments/{name}"
    for method in ("PUT", "DELETE"):
        ours, theirs = servers.both(path, method, b"x")
        assert ours.status == theirs.status == status


def test_attachment_that_was_changed_by_another_is_not_overwritten(servers: SideBySide) -> None:
    url = f"/studies/{study_id('own')}/attachments/1025"
    hilum = servers.hilum.http_url
    seen = ask(hilum, url, "PUT", b"first").headers["etag"]
    assert ask(hilum, url, "PUT", b"second", If_Match=seen).status == 200
    assert ask(hilum, url, "PUT", b"third", If_Match=seen).status == 409
    assert ask(hilum, url, "DELETE", If_Match=seen).status == 409
    assert ask(hilum, f"{url}/data").body == b"second"


def test_nothing_is_attached_to_what_is_not_there(servers: SideBySide) -> None:
    path = f"/studies/{study_id('nobody')}/attachments/1024"
    assert ask(servers.hilum.http_url, path, "PUT", b"x").status == 404
