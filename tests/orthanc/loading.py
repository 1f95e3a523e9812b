"""The same files into both servers, by ways that both have had from the beginning."""

from collections.abc import Iterable
from pathlib import Path

from tests.orthanc.side_by_side import SideBySide, ask


def loaded(servers: SideBySide, files: Iterable[Path]) -> dict[str, str]:
    """Store what Orthanc takes in both, and return the public ids by the names of the files."""
    ids: dict[str, str] = {}
    for path in files:
        data = path.read_bytes()
        theirs = ask(servers.orthanc.http_url, "/instances", "POST", data)
        if theirs.status != 200 or theirs.json["Status"] != "Success":
            continue
        ours = ask(
            servers.hilum.http_url,
            "/dicom-web/studies",
            "POST",
            data,
            Content_Type="application/dicom",
        )
        assert ours.status == 200, (path, ours)
        ids[path.stem] = theirs.json["ID"]
    return ids
