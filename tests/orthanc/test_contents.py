"""Tags, files and values of instances, beside Orthanc's."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import charset_files, pydicom_files
from tests.orthanc.loading import loaded
from tests.orthanc.side_by_side import SideBySide, ask

#: Of each kind one: implicit, explicit, big endian, deflated; images, plans, reports, charsets.
NAMES = (
    *("CT_small", "MR_small_bigendian", "image_dfl"),
    *("rtplan", "rtdose_1frame", "rtstruct", "reportsi", "test-SR", "waveform_ecg"),
    *("color-pl", "JPEG2000", "emri_small", "liver_1frame", "examples_palette", "OBXXXX1A"),
)
CHARSETS = ("chrArab", "chrFren", "chrGerm", "chrGreek", "chrHbrw", "chrRuss", "chrX1", "chrX2")
#: What is known here and not to Orthanc's dictionary is told by its name.
UNKNOWN = "Unknown Tag & Data"


def files() -> list[Path]:
    found = {path.stem: path for path in pydicom_files()}
    return [found[name] for name in NAMES if name in found] + [
        charset_files()[name] for name in CHARSETS
    ]


@pytest.fixture(scope="module")
def instances(servers: SideBySide) -> dict[str, str]:
    """Public ids by the name of the file."""
    ids = loaded(servers, files())
    assert len(ids) > 15
    return ids


def comparable(ours: Any, theirs: Any) -> Any:
    """Return our tags with a private element's name as Orthanc has it, where it has none."""
    if isinstance(ours, list):
        return [comparable(*pair) for pair in zip(ours, theirs, strict=True)]
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return ours
    if theirs.get("Name") == UNKNOWN:
        return theirs
    return {key: comparable(value, theirs.get(key)) for key, value in ours.items()}


@pytest.mark.parametrize("form", ["tags", "tags?short", "header", "header?simplify"])
def test_tags_are_orthancs(servers: SideBySide, instances: dict[str, str], form: str) -> None:
    for name, each in instances.items():
        if name == "rtstruct" and "header" in form:
            continue  # arrived without file meta information, and has got some
        ours, theirs = servers.both(f"/instances/{each}/{form}")
        assert comparable(ours.json, theirs.json) == theirs.json, name


def test_simplified_tags_are_orthancs(servers: SideBySide, instances: dict[str, str]) -> None:
    for name in ("CT_small", "rtplan", "chrX1", "reportsi"):
        for form in ("simplified-tags", "tags?simplify"):
            ours, theirs = servers.both(f"/instances/{instances[name]}/{form}")
            assert (
                ours.json.items()
                >= {key: value for key, value in theirs.json.items() if key != UNKNOWN}.items()
            )


def test_a_long_value_is_shown_if_it_is_asked_for(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    path = f"/instances/{instances['examples_palette']}/tags"
    shortened = servers.same(path)
    assert shortened["0018,1020"]["Type"] == "TooLong"
    for way in ("0018-1020", "00181020,0010-0010", "SoftwareVersions"):
        whole = servers.same(f"{path}?ignore-length={way}")
        assert whole["0018,1020"]["Type"] == "String"


def test_tags_of_an_unknown_instance(servers: SideBySide) -> None:
    for below in ("tags", "simplified-tags", "header", "file", "content", "frames/0/raw"):
        ours, theirs = servers.both(f"/instances/nobody/{below}")
        assert ours.status == theirs.status == 404


def test_tags_of_all_instances_of_a_series(servers: SideBySide, instances: dict[str, str]) -> None:
    series = ask(
        servers.orthanc.http_url, f"/instances/{instances['MR_small_bigendian']}/series"
    ).json["ID"]
    for below in ("instances-tags", "instances-tags?short", "shared-tags"):
        ours, theirs = servers.both(f"/series/{series}/{below}")
        assert ours.status == theirs.status == 200
        assert ours.headers["content-type"] == theirs.headers["content-type"]
        assert comparable(ours.json, theirs.json) == theirs.json


def test_a_file_is_what_was_stored(servers: SideBySide, instances: dict[str, str]) -> None:
    for each in instances.values():
        ours, theirs = servers.both(f"/instances/{each}/file")
        # What arrived without file meta information gets some.
        assert ours.body.endswith(theirs.body)
        assert ours.body[128:132] == b"DICM"
        assert ours.media_type == theirs.media_type == "application/dicom"
    assert ours.headers["content-disposition"] == f'filename="{each}.dcm"'
    again, _ = servers.both(f"/instances/{each}/file", If_None_Match=ours.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    part, _ = servers.both(f"/instances/{each}/file", Range="bytes=128-131")
    assert (part.status, part.body) == (206, b"DICM")


def test_content_is_walked_down_to_values(servers: SideBySide, instances: dict[str, str]) -> None:
    """Every list and every value below it, of a data set with sequences in sequences."""
    pending = [f"/instances/{instances[name]}/content" for name in ("rtplan", "MR_small_bigendian")]
    values = 0
    while pending:
        path = pending.pop()
        ours, theirs = servers.both(path)
        assert (ours.status, ours.media_type) == (theirs.status, theirs.media_type), path
        if ours.media_type == "application/json":
            assert ours.json == theirs.json, path
            pending += [f"{path}/{name}" for name in ours.json]
        else:
            values += 1
            assert ours.body == theirs.body or "bigendian" in path, path
    assert values > 100


@pytest.mark.parametrize(
    "path",
    [
        "content/PatientName",
        "content/00100010",
        "content/0010,0010",
        "content/7fe0-0010",
        "content/7fe0-0010/0",
        "content/7fe0-0010/1",
        "content/7fe0-0010/9",
        "content/0009-0099",
        "content/0010-0010/0",
        "content/0008-1140/77",
    ],
)
def test_content_by_name_and_beyond(
    servers: SideBySide, instances: dict[str, str], path: str
) -> None:
    for name in ("JPEG2000", "CT_small"):
        ours, theirs = servers.both(f"/instances/{instances[name]}/{path}")
        assert ours.status == theirs.status
        if ours.status == 200:
            assert ours.body == theirs.body


def test_a_document_comes_out_of_its_instance(servers: SideBySide) -> None:
    from tests.generated import ct

    document = ct(1, study="pdf", SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", Modality="OT")
    del document.PixelData, document.Rows, document.Columns
    document.EncapsulatedDocument = b"%PDF-1.4 nothing\n"
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    path = servers.hilum.data_dir.parent / "document.dcm"
    document.save_as(path, enforce_file_format=True)
    theirs = ask(servers.orthanc.http_url, "/instances", "POST", path.read_bytes())
    ask(
        servers.hilum.http_url,
        "/dicom-web/studies",
        "POST",
        path.read_bytes(),
        Content_Type="application/dicom",
    )
    ours, theirs = servers.both(f"/instances/{theirs.json['ID']}/pdf")
    assert ours.status == theirs.status == 200
    assert ours.media_type == theirs.media_type == "application/pdf"
    # Whose last byte makes an even number of them.
    assert ours.body.startswith(theirs.body)


def test_many_tags_take_little_memory(servers: SideBySide, instances: dict[str, str]) -> None:
    """The answer for a patient is sent as it is made."""
    patient = ask(servers.orthanc.http_url, f"/instances/{instances['CT_small']}/patient").json
    url = f"{servers.hilum.http_url}/patients/{patient['ID']}/instances-tags"
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert instances["CT_small"] in json.load(answer)


@pytest.mark.parametrize("form", ["", "?simplify", "?short"])
def test_modules_are_orthancs(servers: SideBySide, instances: dict[str, str], form: str) -> None:
    for name in ("CT_small", "reportsi", "rtplan"):
        each = instances[name]
        servers.same(f"/instances/{each}/module{form}")
        for level, plural in (("patient", "patients"), ("study", "studies"), ("series", "series")):
            if (name, level) == ("reportsi", "patient"):
                continue  # one of many without an id: any of them may speak for all
            found = ask(servers.orthanc.http_url, f"/instances/{each}/{level}").json["ID"]
            assert servers.same(f"/{plural}/{found}/module{form}")
            if level == "study":
                servers.same(f"/studies/{found}/module-patient{form}")
