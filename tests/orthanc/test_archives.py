"""ZIP archives and media of resources, beside Orthanc's."""

import hashlib
import io
import json
import re
import subprocess
import urllib.request
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gdcm
import pydicom
import pytest
from pydicom.fileset import FileSet

from tests.corpus import charset_files, pydicom_files
from tests.generated import ct, ct_files, save
from tests.nodes import wait_until
from tests.orthanc.loading import loaded
from tests.orthanc.side_by_side import Answer, SideBySide, ask

NAMES = ("CT_small", "JPEG2000", "liver_1frame", "rtplan", "reportsi", "rtdose_1frame")
CHARSETS = ("chrFren", "chrRuss", "chrX1")


@pytest.fixture(scope="module")
def instances(servers: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Public ids by the names of the files; ``0001`` to ``0003`` are one series."""
    folder = tmp_path_factory.mktemp("archives")
    found = {path.stem: path for path in pydicom_files()}
    odd = ct(
        9,
        series=2,
        PatientID="TEST-1",
        SeriesDescription="Hélical / 5.0 *mm* <b>",
        Modality="C",
    )
    return loaded(
        servers,
        [
            *(found[name] for name in NAMES),
            *(charset_files()[name] for name in CHARSETS),
            *ct_files(folder, 3),
            save(odd, folder / "odd.dcm"),
            save(ct(10, series=3), folder / "same_name.dcm"),
            save(ct(11, series=4), folder / "same_name_again.dcm"),
        ],
    )


def resource(servers: SideBySide, instances: dict[str, str], name: str, level: str) -> str:
    found = ask(servers.orthanc.http_url, f"/instances/{instances[name]}/{level}").json["ID"]
    assert isinstance(found, str)
    return found


def unpacked(answer: Answer) -> dict[str, bytes]:
    """Return what is in a ZIP file, which must be sound."""
    assert (answer.status, answer.media_type) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def unnumbered(names: Iterable[str]) -> list[str]:
    """Return names without what tells folders of one name apart: in which order is nobody's."""
    return sorted(re.sub(r"-\d/", "/", name) for name in names)


def digests(files: dict[str, bytes]) -> list[str]:
    return sorted(
        hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "DICOMDIR"
    )


@pytest.mark.parametrize("kind", ["archive", "media"])
@pytest.mark.parametrize("level", ["patient", "study", "series"])
def test_names_and_files_are_orthancs(
    servers: SideBySide, instances: dict[str, str], level: str, kind: str
) -> None:
    plural = {"patient": "patients", "study": "studies"}.get(level, level)
    for name in ("0001", "odd", "CT_small", "chrX1", "rtplan"):
        path = f"/{plural}/{resource(servers, instances, name, level)}/{kind}"
        for method, body in (("GET", None), ("POST", "{}")):
            ours, theirs = (unpacked(each) for each in servers.both(path, method, body))
            assert unnumbered(ours) == unnumbered(theirs)
            assert digests(ours) == digests(theirs)


def test_an_archive_says_its_length_and_name(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    study = resource(servers, instances, "0001", "study")
    ours, theirs = servers.both(f"/studies/{study}/archive")
    assert int(ours.headers["content-length"]) == len(ours.body)
    name = f'filename="{study}.zip"'
    assert name in ours.headers["content-disposition"]
    assert name in theirs.headers["content-disposition"]
    named = ask(servers.hilum.http_url, f"/studies/{study}/archive?filename=a%22b/c.zip")
    assert 'filename="abc.zip"' in named.headers["content-disposition"]


def test_several_resources_in_one_archive(servers: SideBySide, instances: dict[str, str]) -> None:
    ids = [
        resource(servers, instances, "CT_small", "patient"),
        resource(servers, instances, "0001", "series"),
        instances["0001"],
        instances["odd"],
    ]
    for body in (ids, {"Resources": ids}):
        ours, theirs = servers.both("/tools/create-archive", "POST", body)
        assert digests(unpacked(ours)) == digests(unpacked(theirs))
        assert unnumbered(unpacked(ours)) == unnumbered(unpacked(theirs))
    for kind in ("archive", "media", "media-extended"):
        # Not by GET in Orthanc 1.10, but in later ones.
        got = ask(servers.hilum.http_url, f"/tools/create-{kind}?resources={','.join(ids)}")
        assert digests(unpacked(got)) == digests(unpacked(ours))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tools/create-archive", ["nobody"], 404),
        ("/tools/create-archive", "no JSON", 400),
        ("/tools/create-media", {"Some": []}, 400),
        ("/studies/nobody/archive", {}, 404),
        ("/series/nobody/media", {}, 404),
    ],
)
def test_what_cannot_be_packed(servers: SideBySide, path: str, body: object, status: int) -> None:
    ours, theirs = servers.both(path, "POST", body)
    assert ours.status == theirs.status == status
    assert ours.json["OrthancStatus"] == theirs.json["OrthancStatus"]


@pytest.mark.parametrize("kind", ["archive", "media"])
def test_an_archive_by_a_job(servers: SideBySide, instances: dict[str, str], kind: str) -> None:
    study = resource(servers, instances, "0001", "study")
    several = {"Resources": [study, instances["CT_small"]], "Asynchronous": True}
    for path, body in (
        (f"/studies/{study}/{kind}", {"Synchronous": False}),
        (f"/tools/create-{kind}", several),
    ):
        paths = [answer.json["Path"] for answer in servers.both(path, "POST", body)]
        urls = servers.hilum.http_url, servers.orthanc.http_url
        jobs = [
            wait_until(lambda at=at: (job := ask(*at).json)["State"] == "Success" and job)
            for at in zip(urls, paths, strict=True)
        ]
        ours, theirs = (job["Content"] for job in jobs)
        assert ours.keys() == theirs.keys()
        for told in ("Description", "InstancesCount", "UncompressedSize"):
            assert ours[told] == theirs[told]
        assert jobs[0]["Type"] == jobs[1]["Type"]
        ours, theirs = (ask(url, f"{path}/archive") for url, path in zip(urls, paths, strict=True))
        assert digests(unpacked(ours)) == digests(unpacked(theirs))
        assert unnumbered(unpacked(ours)) == unnumbered(unpacked(theirs))
        assert 'filename="archive.zip"' in ours.headers["content-disposition"]
        for other in ("nothing", "dicomdir"):
            ours, theirs = (
                ask(url, f"{path}/{other}") for url, path in zip(urls, paths, strict=True)
            )
            assert ours.status == theirs.status == 404
            assert ours.json["OrthancStatus"] == theirs.json["OrthancStatus"]


def test_an_archive_in_another_transfer_syntax(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    implicit = "1.2.840.10008.1.2"
    series = resource(servers, instances, "0001", "series")
    for method, body, query in (
        ("GET", None, f"?transcode={implicit}"),
        ("POST", {"Transcode": implicit}, ""),
    ):
        url = f"/series/{series}/media{query}"
        files = unpacked(ask(servers.hilum.http_url, url, method, body))
        directory = pydicom.dcmread(io.BytesIO(files.pop("DICOMDIR")))
        for content in files.values():
            assert pydicom.dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == implicit
        said = {
            record.ReferencedTransferSyntaxUIDInFile
            for record in directory.DirectoryRecordSequence
            if "ReferencedFileID" in record
        }
        assert said == {implicit}
    refused = ask(servers.hilum.http_url, f"/series/{series}/archive?transcode=1.2.3")
    assert refused.status == 400


def test_a_file_in_another_transfer_syntax(servers: SideBySide, instances: dict[str, str]) -> None:
    """Debian's Orthanc rewrites files in archives alone, and no JPEG 2000: pydicom judges."""
    url = servers.hilum.http_url
    for name, target in (("0001", "1.2.840.10008.1.2"), ("JPEG2000", "1.2.840.10008.1.2.1")):
        path = f"/instances/{instances[name]}/file"
        there = pydicom.dcmread(io.BytesIO(ask(servers.orthanc.http_url, path).body))
        if there.file_meta.TransferSyntaxUID.is_compressed:
            there.decompress(generate_instance_uid=False)
        here = pydicom.dcmread(io.BytesIO(ask(url, f"{path}?transcode={target}").body))
        assert here.file_meta.TransferSyntaxUID == target
        assert here.SOPInstanceUID == there.SOPInstanceUID
        assert here.PixelData == there.PixelData
        assert here.to_json_dict().keys() == there.to_json_dict().keys()
    stored = ask(url, f"/instances/{instances['0001']}/file")
    as_it_is = ask(url, f"/instances/{instances['0001']}/file?transcode=1.2.840.10008.1.2.1")
    assert as_it_is.body == stored.body
    assert as_it_is.headers["etag"] == stored.headers["etag"]
    for target in ("", "1.2.3", "1.2.840.10008.1.2.4.50"):
        refused = ask(url, f"/instances/{instances['0001']}/file?transcode={target}")
        assert refused.status == 400
    plan = f"/instances/{instances['rtplan']}/file"
    j2k = ask(url, f"{plan}?transcode=1.2.840.10008.1.2.4.90")
    assert j2k.body == ask(url, plan).body


def test_many_archives_are_rewritten_at_the_same_time(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    """More than the node has threads to wait in; what is no image stays as it is."""
    ids = ",".join(instances[name] for name in ("rtplan", "0001", "0002"))
    j2k = "1.2.840.10008.1.2.4.90"
    path = f"/tools/create-archive?resources={ids}&transcode={j2k}"
    with ThreadPoolExecutor(16) as clients:
        answers = list(
            clients.map(lambda _: ask(servers.hilum.http_url, path), range(clients._max_workers))
        )
    for answer in answers:
        syntaxes = [
            pydicom.dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID
            for content in unpacked(answer).values()
        ]
        assert sorted(syntaxes) == ["1.2.840.10008.1.2", j2k, j2k]


@pytest.fixture(scope="module")
def media(
    servers: SideBySide, instances: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A file set of everything there is, in a folder."""
    patients = ask(servers.orthanc.http_url, "/patients").json
    answer = ask(servers.hilum.http_url, "/tools/create-media-extended", "POST", patients)
    folder = tmp_path_factory.mktemp("media")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        archive.extractall(folder)
    assert len(list((folder / "IMAGES").iterdir())) == len(instances)
    return folder


def test_pydicom_reads_the_file_set(media: Path, instances: dict[str, str]) -> None:
    file_set = FileSet(media / "DICOMDIR")
    assert file_set.ID == "HILUM"
    assert len(file_set) == len(instances)
    for entry in file_set:
        data_set = entry.load()
        assert data_set.SOPInstanceUID == entry.SOPInstanceUID
        assert data_set.get("PatientID") in {entry.PatientID, None, ""}
        assert data_set.get("PatientName", "") == entry.PatientName
        assert data_set.StudyInstanceUID == entry.StudyInstanceUID
    file_set._stage["t"].cleanup()


def test_gdcm_reads_the_directory(media: Path, instances: dict[str, str]) -> None:
    reader = gdcm.Reader()
    reader.SetFileName(str(media / "DICOMDIR"))
    assert reader.Read()
    scanner = gdcm.Scanner()
    scanner.AddTag(gdcm.Tag(0x0008, 0x0018))
    assert scanner.Scan([str(path) for path in (media / "IMAGES").iterdir()])
    assert reader.GetFile().GetDataSet().FindDataElement(gdcm.Tag(0x0004, 0x1220))


def test_dcmtk_reads_the_directory(media: Path, instances: dict[str, str]) -> None:
    """What it prints of offsets are those it has found the records at."""
    dumped = subprocess.run(
        ["/usr/bin/dcmdump", "+L", media / "DICOMDIR"],
        capture_output=True,
        encoding="latin-1",
        check=True,
    )
    assert not dumped.stderr
    for kind, count in (("RT PLAN", 1), ("SR DOCUMENT", 1), ("RT DOSE", 1)):
        assert dumped.stdout.count(f'"Directory Record" {kind} #') == count
    assert dumped.stdout.count('refFileID="IMAGES\\IM') == len(instances)


def test_records_have_the_keys_that_dcmtk_writes(
    media: Path, servers: SideBySide, instances: dict[str, str]
) -> None:
    """The general purpose profile, in which dcmmkdir is strict about keys."""
    theirs = media.parent / "dcmmkdir"
    theirs.mkdir(exist_ok=True)
    (theirs / "IMAGES").symlink_to(media / "IMAGES")
    subprocess.run(
        [
            *("/usr/bin/dcmmkdir", "--recurse", "-Pfl", "-W", "--invent"),
            *("+id", ".", "+D", "DICOMDIR", "IMAGES"),
        ],
        cwd=theirs,
        check=True,
        capture_output=True,
    )
    ours = records(media / "DICOMDIR")
    for file_id, record in records(theirs / "DICOMDIR").items():
        ours_record = ours[file_id]
        assert ours_record["DirectoryRecordType"] == record["DirectoryRecordType"], file_id
        if record["DirectoryRecordType"] != "IMAGE":
            # Of an image dcmmkdir writes down what this profile only allows.
            missing = record.keys() - ours_record.keys() - {"SpecificCharacterSet"}
            assert not missing, file_id


def records(path: Path) -> dict[str, dict[str, object]]:
    """Return keyword and value of each record that refers to a file, by its File ID."""
    found = {}
    for record in pydicom.dcmread(path).DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            name = "/".join(record.ReferencedFileID)
            found[name] = {each.keyword: each.value for each in record}
    return found


def test_the_page_gets_a_study_with_a_directory(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    study = resource(servers, instances, "0001", "study")
    uid = ask(servers.orthanc.http_url, f"/studies/{study}").json["MainDicomTags"][
        "StudyInstanceUID"
    ]
    answer = ask(servers.hilum.http_url, f"/api/dicom/studies/{uid}/archive")
    files = unpacked(answer)
    assert 'filename="TEST1-20260102.zip"' in answer.headers["content-disposition"]
    assert files.pop("DICOMDIR")[128:132] == b"DICM"
    assert len(files) == 6
    unknown = ask(servers.hilum.http_url, "/api/dicom/studies/1.2.3/archive")
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "not-found")


def test_who_goes_away_stops_the_reading(servers: SideBySide, instances: dict[str, str]) -> None:
    folder = servers.hilum.data_dir.parent
    for number in range(1, 9):
        path = save(ct(number, study="large", size=2048), folder / "large.dcm")
        stored = ask(servers.hilum.http_url, "/instances", "POST", path.read_bytes())
        assert stored.status == 200
    study = stored.json["ParentStudy"]
    before = servers.hilum.read_bytes()
    with urllib.request.urlopen(f"{servers.hilum.http_url}/studies/{study}/archive") as answer:
        assert int(answer.headers["Content-Length"]) > 8 * 2 * 2048 * 2048
        answer.read(1000)

    def at_rest() -> bool:
        count = servers.hilum.read_bytes()
        return count == servers.hilum.read_bytes()

    wait_until(at_rest)
    assert servers.hilum.read_bytes() - before < 8 * 2 * 2048 * 2048
    assert json.loads(servers.hilum.get("/health"))


def test_a_file_that_is_gone_is_told_before_anything_is_sent(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    path = save(ct(1, study="lost"), servers.hilum.data_dir.parent / "lost.dcm")
    stored = ask(servers.hilum.http_url, "/instances", "POST", path.read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (found,) = (servers.hilum.data_dir / "objects").rglob(f"*{digest}*")
    found.unlink()
    answer = ask(servers.hilum.http_url, f"/studies/{stored.json['ParentStudy']}/archive")
    assert answer.status == 500
    assert "gone" in answer.json["Details"]
