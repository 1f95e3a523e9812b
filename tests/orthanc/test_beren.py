"""What beren does with an Orthanc, it does with a Hilum. It ends every path with a slash."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from apiron import Timeout
from beren import Orthanc
from PIL import Image
from requests import HTTPError

from tests.dcmtk import data_set_bytes, storescp
from tests.generated import ct_files, uid
from tests.nodes import wait_until
from tests.orthanc.judged import Judged, instance_id, patient_id, series_id, study_id

#: A parameter without a value, which Orthanc has, seems a mistake to what the library is built on.
pytestmark = pytest.mark.filterwarnings("ignore:The changes/ endpoint was called with empty")

FILES = 3
#: The library gives up after a second; a machine that tests is slower than that.
PATIENTLY = {"timeout_spec": Timeout(read_timeout=60, connection_timeout=10)}


@pytest.fixture(scope="module")
def client(judged: Judged) -> Orthanc:
    return Orthanc(judged.url, warn_insecure=False)


@pytest.fixture
def files(client: Orthanc, study: str, tmp_path: Path) -> list[Path]:
    """Three slices of a study of the test's own, on the server."""
    paths = ct_files(tmp_path / "own", FILES, study=study, SeriesDescription="Axial")
    for path in paths:
        assert client.add_instance(path.read_bytes(), **PATIENTLY)["Status"] == "Success"
    return paths


def joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)


def test_add_instance_says_what_it_is(client: Orthanc, study: str, tmp_path: Path) -> None:
    (path,) = ct_files(tmp_path, 1, study=study)
    told = client.add_instance(path.read_bytes(), **PATIENTLY)
    assert told == {
        "ID": instance_id(study),
        "ParentPatient": patient_id(study),
        "ParentSeries": series_id(study),
        "ParentStudy": study_id(study),
        "Path": f"/instances/{instance_id(study)}",
        "Status": "Success",
    }
    again = client.add_instance(path.read_bytes(), **PATIENTLY)
    assert (again["ID"], again["Status"]) == (told["ID"], "AlreadyStored")


def test_lists_with_and_without_what_is_known(
    client: Orthanc, study: str, files: list[Path]
) -> None:
    assert study_id(study) in client.get_studies(**PATIENTLY)
    assert series_id(study) in client.get_series(**PATIENTLY)
    assert len(client.get_instances(since=0, limit=2, **PATIENTLY)) == 2
    expanded = client.get_patients(expand=True, **PATIENTLY)
    (patient,) = [each for each in expanded if each["ID"] == patient_id(study)]
    assert patient["MainDicomTags"]["PatientID"] == f"TEST-{study}"
    assert patient["Studies"] == [study_id(study)]


def test_what_contains_what(client: Orthanc, study: str, files: list[Path]) -> None:
    (found,) = client.get_patient_studies(patient_id(study), **PATIENTLY)
    assert (found["ID"], found["Type"]) == (study_id(study), "Study")
    assert [each["ID"] for each in client.get_study_series(study_id(study), **PATIENTLY)] == [
        series_id(study)
    ]
    instances = client.get_series_instances(series_id(study), **PATIENTLY)
    assert {each["MainDicomTags"]["InstanceNumber"] for each in instances} == {"1", "2", "3"}
    identifier = instance_id(study, 3)
    assert client.get_instance_series(identifier, **PATIENTLY)["ID"] == series_id(study)
    assert client.get_instance_study(identifier, **PATIENTLY)["ID"] == study_id(study)
    assert client.get_instance_patient(identifier, **PATIENTLY)["ID"] == patient_id(study)
    assert client.get_patient_id_from_uuid(patient_id(study), **PATIENTLY) == f"TEST-{study}"


def test_statistics(client: Orthanc, study: str, files: list[Path]) -> None:
    size = sum(path.stat().st_size for path in files)
    for told in (
        client.get_patient_statistics(patient_id(study), **PATIENTLY),
        client.get_study_statistics(study_id(study), **PATIENTLY),
        client.get_series_statistics(series_id(study), **PATIENTLY),
    ):
        assert told["CountInstances"] == FILES
        assert int(told["DicomDiskSize"]) == size
    assert client.get_statistics(**PATIENTLY)["CountInstances"] >= FILES
    assert client.get_system(**PATIENTLY)["ApiVersion"] >= 16


def test_find(client: Orthanc, study: str, files: list[Path]) -> None:
    query = {"PatientID": f"TEST-{study}"}
    assert client.find(query, "Study", limit=5, **PATIENTLY) == [study_id(study)]
    (found,) = client.find(query, "Series", expand=True, limit=5, **PATIENTLY)
    assert found["MainDicomTags"]["Modality"] == "CT"
    assert len(client.find(query, "Instance", limit=2, **PATIENTLY)) == 2
    assert client.find({"PatientID": "NOBODY"}, "Patient", limit=5, **PATIENTLY) == []


def test_tags(client: Orthanc, study: str, files: list[Path]) -> None:
    identifier = instance_id(study, 2)
    told = client.get_instance_simplified_tags(identifier, **PATIENTLY)
    assert (told["PatientName"], told["InstanceNumber"]) == (f"Test^{study}", "2")
    told = client.get_instance_tags(identifier, short=True, **PATIENTLY)
    assert told["0020,0013"] == "2"
    assert client.get_instance_tags(identifier, **PATIENTLY)["0008,0060"]["Value"] == "CT"
    header = client.get_instance_header(identifier, simplify=True, **PATIENTLY)
    assert header["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"
    raw = client.get_instance_content_raw_tag(identifier, "0010", "0020", **PATIENTLY)
    assert raw.strip() == f"TEST-{study}"
    assert "0010-0020" in client.get_instance_content(identifier, **PATIENTLY)
    shared = client.get_study_shared_tags(study_id(study), **PATIENTLY)
    assert shared["0008,103e"]["Value"] == "Axial"
    assert "0020,0013" not in shared
    of_all = client.get_series_instances_tags(series_id(study), **PATIENTLY)
    assert of_all.keys() == {instance_id(study, number) for number in (1, 2, 3)}


def test_modules(client: Orthanc, study: str, files: list[Path]) -> None:
    module = client.get_patient_module(patient_id(study), **PATIENTLY)
    assert module["0010,0020"]["Value"] == f"TEST-{study}"
    module = client.get_study_module(study_id(study), **PATIENTLY)
    assert module["0008,0050"]["Value"] == f"A{study}"
    assert client.get_series_module(series_id(study), **PATIENTLY)["0008,0060"]["Value"] == "CT"


def test_file_frames_and_pictures(client: Orthanc, study: str, files: list[Path]) -> None:
    identifier = instance_id(study, 1)
    assert joined(client.get_instance_file(identifier, **PATIENTLY)) == files[0].read_bytes()
    pixels = pydicom.dcmread(files[0]).pixel_array
    assert len(client.get_instance_frames(identifier, **PATIENTLY)) == 1
    png = joined(client.get_instance_preview(identifier, **PATIENTLY))
    assert np.asarray(Image.open(io.BytesIO(png))).shape == pixels.shape
    png = joined(client.get_instance_image(identifier, "image-uint16", **PATIENTLY))
    assert (np.asarray(Image.open(io.BytesIO(png))) == pixels).all()


def test_archives(client: Orthanc, study: str, files: list[Path]) -> None:
    expected = sorted(path.read_bytes() for path in files)
    for parts in (
        client.archive_patient(patient_id(study), **PATIENTLY),
        client.get_study_archive(study_id(study), **PATIENTLY),
        client.get_series_archive(series_id(study), **PATIENTLY),
    ):
        with zipfile.ZipFile(io.BytesIO(joined(parts))) as archive:
            assert sorted(archive.read(name) for name in archive.namelist()) == expected
    media = joined(client.get_study_media(study_id(study), **PATIENTLY))
    with zipfile.ZipFile(io.BytesIO(media)) as archive:
        assert "DICOMDIR" in archive.namelist()


def test_delete(client: Orthanc, study: str, files: list[Path]) -> None:
    left = client.delete_instance(instance_id(study, 1), **PATIENTLY)["RemainingAncestor"]
    assert (left["Type"], left["ID"], left["Path"]) == (
        "Series",
        series_id(study),
        f"/series/{series_id(study)}",
    )
    assert client.delete_patient(patient_id(study), **PATIENTLY) == {"RemainingAncestor": None}
    with pytest.raises(HTTPError) as gone:
        client.get_study(study_id(study), **PATIENTLY)
    assert gone.value.response.status_code == 404


def test_changes(client: Orthanc, study: str, tmp_path: Path) -> None:
    since = client.get_changes(last=True, **PATIENTLY)["Last"]
    (path,) = ct_files(tmp_path, 1, study=study)
    client.add_instance(path.read_bytes(), **PATIENTLY)

    def told() -> bool:
        changes = client.get_changes(since=since, **PATIENTLY)["Changes"]
        return ("NewStudy", study_id(study), f"/studies/{study_id(study)}") in [
            (each["ChangeType"], each["ID"], each["Path"]) for each in changes
        ]

    wait_until(told)


def test_modalities(client: Orthanc) -> None:
    assert {"other", "store", "nobody"} <= set(client.get_modalities(**PATIENTLY))
    assert "echo" in client.get_modality("other", **PATIENTLY)
    assert client.echo_modality("other", **PATIENTLY) == {}
    for name, status in (("nobody", 500), ("unknown", 404)):
        with pytest.raises(HTTPError) as failed:
            client.echo_modality(name, **PATIENTLY)
        assert failed.value.response.status_code == status


def test_store_jobs_and_exports(
    client: Orthanc, judged: Judged, study: str, files: list[Path], tmp_path: Path
) -> None:
    with storescp(tmp_path / "in", "STORE", port=judged.store_port):
        told = client.store_modality("store", study_id(study), **PATIENTLY)
    assert told["InstancesCount"] == FILES
    arrived = sorted(data_set_bytes(path) for path in (tmp_path / "in").iterdir())
    assert arrived == sorted(map(data_set_bytes, files))
    exports = client.get_exports(**PATIENTLY)["Exports"]
    (export,) = [each for each in exports if each["ID"] == study_id(study)]
    assert (export["RemoteModality"], export["ResourceType"]) == ("store", "Study")
    body: dict[str, Any] = {"Resources": [study_id(study)], "Synchronous": False}
    job = client.store_modality("nobody", body, **PATIENTLY)["ID"]
    wait_until(lambda: client.get_job(job, **PATIENTLY)["State"] == "Failure")
    assert client.get_job(job, **PATIENTLY)["ErrorCode"] == 9
    assert job in client.get_jobs(**PATIENTLY)
    assert client.cancel_job(job, **PATIENTLY) == {}


def test_query_and_retrieve(client: Orthanc, judged: Judged) -> None:
    query = {"Level": "Study", "Query": {"PatientID": "TEST-there"}}
    asked = client.query_modality("other", query, **PATIENTLY)["ID"]
    assert asked in client.get_queries(**PATIENTLY)
    answer = client.get_query_answers_content(asked, 0, **PATIENTLY)
    assert answer["0020,000d"]["Value"] == uid("there")
    told = client.post_query_answers_retrieve(asked, 0, data=judged.aet, **PATIENTLY)
    assert told["RemoteAet"] == "OTHER"
    assert client.get_study_statistics(study_id("there"), **PATIENTLY)["CountInstances"] == 3
    move = {
        "Level": "Study",
        "Resources": [{"StudyInstanceUID": uid("elsewhere")}],
        "TargetAet": judged.aet,
    }
    client.move_modality("other", move, **PATIENTLY)
    assert client.get_study(study_id("elsewhere"), **PATIENTLY)["Type"] == "Study"


def test_small_tools(client: Orthanc) -> None:
    assert client.generate_uid("study", **PATIENTLY).replace(".", "").isdigit()
    assert len(client.get_now(**PATIENTLY)) == len("20260102T030405")
    assert client.get_peers(**PATIENTLY) == []
