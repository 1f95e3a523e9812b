"""What pyorthanc does with an Orthanc, it does with a Hilum."""

import asyncio
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pyorthanc
import pytest
from PIL import Image
from pyorthanc import Modality, find_instances, find_patients, find_series, find_studies, upload
from pyorthanc.jobs import Job, State

from tests.dcmtk import data_set_bytes, storescp
from tests.generated import ct, ct_files, uid
from tests.orthanc.judged import (
    Judged,
    instance_id,
    patient_id,
    series_id,
    study_id,
)

#: The library has httpx send text as it is in a way that httpx would like to see changed.
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=.* to upload:DeprecationWarning")

FILES = 3


@pytest.fixture(scope="module")
def client(judged: Judged) -> Iterator[pyorthanc.Orthanc]:
    with pyorthanc.Orthanc(judged.url, timeout=60) as client:
        yield client


@pytest.fixture
def files(client: pyorthanc.Orthanc, study: str, tmp_path: Path) -> list[Path]:
    """Three slices of a study of the test's own, on the server."""
    paths = ct_files(tmp_path / "own", FILES, study=study, SeriesDescription="Axial")
    for path in paths:
        upload(client, path)
    return paths


# -- taking in -----------------------------------------------------------------------------


def test_upload_of_a_file_says_its_id(
    client: pyorthanc.Orthanc, study: str, tmp_path: Path
) -> None:
    (path,) = ct_files(tmp_path, 1, study=study)
    (instance,) = upload(client, path)
    assert (instance.id_, instance.uid) == (instance_id(study), uid(study, 1, 1))
    answer = client.post_instances(path.read_bytes())
    assert answer["Status"] == "AlreadyStored"
    assert answer["ParentStudy"] == study_id(study)


def test_upload_of_a_folder_a_zip_and_a_data_set(
    client: pyorthanc.Orthanc, study: str, tmp_path: Path
) -> None:
    paths = ct_files(tmp_path / "folder", 2, study=study)
    assert {each.id_ for each in upload(client, tmp_path / "folder")} == {
        instance_id(study, 1),
        instance_id(study, 2),
    }
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for number in (3, 4):
            file = io.BytesIO()
            ct(number, study=study).save_as(file, enforce_file_format=True)
            archive.writestr(f"{number}.dcm", file.getvalue())
    assert {each.id_ for each in upload(client, tmp_path / "two.zip")} == {
        instance_id(study, 3),
        instance_id(study, 4),
    }
    (again,) = upload(client, paths[0], check_before_upload=True)
    assert again.id_ == instance_id(study, 1)
    (made,) = upload(client, pydicom.dcmread(paths[1]))
    assert made.id_ == instance_id(study, 2)


def test_upload_of_what_is_no_dicom_is_refused(client: pyorthanc.Orthanc) -> None:
    with pytest.raises(httpx.HTTPError, match="HTTP code: 400"):
        client.post_instances(b"no DICOM at all")


# -- finding -------------------------------------------------------------------------------


def test_find_at_every_level(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    (patient,) = find_patients(client, query={"PatientID": f"TEST-{study}"})
    assert (patient.patient_id, patient.name) == (f"TEST-{study}", f"Test^{study}")
    (found,) = find_studies(client, query={"StudyInstanceUID": uid(study)})
    assert found.date.isoformat() == "2026-01-02T03:04:05"
    assert (found.description, found.accession_number) == ("Generated", f"A{study}")
    assert found.patient_information["PatientID"] == f"TEST-{study}"
    (series,) = find_series(client, query={"PatientID": f"TEST-{study}", "Modality": "CT"})
    assert (series.modality, series.series_number, series.description) == ("CT", 1, "Axial")
    instances = find_instances(client, query={"StudyInstanceUID": uid(study)})
    assert {each.instance_number for each in instances} == {1, 2, 3}


def test_find_with_wildcards_limits_and_none(
    client: pyorthanc.Orthanc, study: str, files: list[Path]
) -> None:
    found = find_instances(
        client,
        query={"PatientName": f"test^{study[:-1]}*"},
        limit=2,
        retrieve_all_resources=False,
    )
    assert len(found) == 2
    rest = find_instances(
        client,
        query={"PatientID": f"TEST-{study}"},
        limit=2,
        since=2,
        retrieve_all_resources=False,
    )
    assert len(rest) == FILES - 2
    assert find_studies(client, query={"PatientID": "NOBODY"}) == []


def test_walk_from_the_patient_down_and_up(
    client: pyorthanc.Orthanc, study: str, files: list[Path]
) -> None:
    patient = pyorthanc.Patient(patient_id(study), client)
    (of_patient,) = patient.studies
    (series,) = of_patient.series
    assert (of_patient.id_, series.id_) == (study_id(study), series_id(study))
    assert {each.id_ for each in series.instances} == {
        instance_id(study, number) for number in (1, 2, 3)
    }
    instance = series.instances[0]
    assert instance.parent_series.id_ == series_id(study)
    assert instance.parent_study.id_ == study_id(study)
    assert instance.parent_patient.id_ == patient_id(study)
    assert isinstance(of_patient.is_stable, bool)
    assert of_patient.last_update.year >= 2026


def test_lists_and_statistics(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    assert study_id(study) in client.get_studies()
    assert patient_id(study) in client.get_patients()
    expanded = client.get_series(params={"expand": True})
    assert series_id(study) in [each["ID"] for each in expanded]
    assert len(client.get_instances(params={"since": 0, "limit": 2})) == 2
    size = sum(path.stat().st_size for path in files)
    told = client.get_studies_id_statistics(study_id(study))
    assert (told["CountInstances"], told["CountSeries"]) == (FILES, 1)
    # Orthanc keeps a summary of its own beside each file.
    assert int(told["DicomDiskSize"]) == size
    of_all = client.get_statistics()
    assert of_all["CountInstances"] >= FILES
    assert int(of_all["TotalDiskSize"]) >= size
    system = client.get_system()
    assert system["DicomAet"]
    assert system["ApiVersion"] >= 16


def test_lookup(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    (found,) = client.post_tools_lookup(data=uid(study))
    assert (found["Type"], found["ID"], found["Path"]) == (
        "Study",
        study_id(study),
        f"/studies/{study_id(study)}",
    )
    assert client.post_tools_lookup(data="1.2.3.4.5") == []


def test_what_is_not_there_is_404(client: pyorthanc.Orthanc) -> None:
    for ask in (client.get_studies_id, client.get_instances_id_file, client.delete_series_id):
        with pytest.raises(httpx.HTTPError, match="HTTP code: 404"):
            ask(study_id("nobody"))


# -- contents ------------------------------------------------------------------------------


def test_tags(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    instance = pyorthanc.Instance(instance_id(study, 2), client)
    assert instance.tags["0010,0020"] == {
        "Name": "PatientID",
        "Type": "String",
        "Value": f"TEST-{study}",
    }
    assert instance.simplified_tags["InstanceNumber"] == "2"
    assert instance.get_content_by_tag("PatientID") == f"TEST-{study}"
    assert "0010-0020" in client.get_instances_id_content_path(instance.id_, "")
    series = pyorthanc.Series(series_id(study), client)
    shared = series.get_shared_tags(simplify=True)
    assert shared["SeriesDescription"] == "Axial"
    assert "InstanceNumber" not in shared
    module = pyorthanc.Patient(patient_id(study), client).get_patient_module(simplify=True)
    assert module["PatientID"] == f"TEST-{study}"


def test_file_is_what_was_uploaded(
    client: pyorthanc.Orthanc, study: str, files: list[Path], tmp_path: Path
) -> None:
    instance = pyorthanc.Instance(instance_id(study, 1), client)
    assert instance.get_dicom_file_content() == files[0].read_bytes()
    instance.download(str(tmp_path / "downloaded.dcm"))
    assert (tmp_path / "downloaded.dcm").read_bytes() == files[0].read_bytes()
    data_set = instance.get_pydicom()
    assert (data_set.pixel_array == pydicom.dcmread(files[0]).pixel_array).all()
    assert instance.file_size == files[0].stat().st_size


def test_instance_is_modified_and_anonymized_beside_the_original(
    client: pyorthanc.Orthanc, study: str, files: list[Path]
) -> None:
    instance = pyorthanc.Instance(instance_id(study, 1), client)
    before = pydicom.dcmread(files[0])
    modified = instance.modify(replace={"PatientName": "A^B"}, remove=["SeriesDescription"])
    after = pydicom.dcmread(io.BytesIO(modified))
    assert (after.PatientName, after.PatientID) == ("A^B", before.PatientID)
    assert "SeriesDescription" not in after
    assert after.SOPInstanceUID != before.SOPInstanceUID
    anonymized = instance.anonymize(
        keep=["StudyDescription", "StudyInstanceUID"], replace={"PatientID": "P-7"}, force=True
    )
    after = pydicom.dcmread(io.BytesIO(anonymized))
    assert (after.PatientID, after.StudyDescription) == ("P-7", before.StudyDescription)
    assert after.StudyInstanceUID == before.StudyInstanceUID
    assert after.SeriesInstanceUID != before.SeriesInstanceUID
    assert before.PatientName != after.PatientName
    assert after.PixelData == before.PixelData
    # It is not stored by that; whoever posts it has both.
    assert len(client.get_studies_id_instances(study_id(study))) == FILES
    posted = client.post_instances(anonymized)
    assert posted["Status"] == "Success"
    assert posted["ParentStudy"] != study_id(study)


def test_frames_and_pictures(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    identifier = instance_id(study, 1)
    pixels = pydicom.dcmread(files[0]).pixel_array
    assert client.get_instances_id_frames(identifier) in (["0"], [0])
    assert client.get_instances_id_frames_frame_raw(id_=identifier, frame="0") == pixels.tobytes()
    preview = client.get_instances_id_preview(identifier)
    picture = np.asarray(Image.open(io.BytesIO(preview)))
    assert (picture.shape, picture.dtype) == (pixels.shape, np.uint8)
    assert (picture.min(), picture.max()) == (0, 255)
    rendered = client.get_instances_id_frames_frame_rendered(id_=identifier, frame="0")
    assert np.asarray(Image.open(io.BytesIO(rendered))).shape == pixels.shape
    exact = client.get_instances_id_image_uint16(identifier)
    assert (np.asarray(Image.open(io.BytesIO(exact))) == pixels).all()


def test_archive_has_all_files(
    client: pyorthanc.Orthanc, study: str, files: list[Path], tmp_path: Path
) -> None:
    expected = sorted(path.read_bytes() for path in files)
    for resource in (
        pyorthanc.Patient(patient_id(study), client),
        pyorthanc.Study(study_id(study), client),
        pyorthanc.Series(series_id(study), client),
    ):
        with zipfile.ZipFile(io.BytesIO(resource.get_zip())) as archive:
            assert sorted(archive.read(name) for name in archive.namelist()) == expected
    pyorthanc.Study(study_id(study), client).download(str(tmp_path / "study.zip"))
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        assert len(archive.namelist()) == FILES
    media = client.get_studies_id_media(study_id(study))
    with zipfile.ZipFile(io.BytesIO(media)) as archive:
        assert "DICOMDIR" in archive.namelist()


def test_retrieve_and_write(
    client: pyorthanc.Orthanc, study: str, files: list[Path], tmp_path: Path
) -> None:
    patient = pyorthanc.Patient(patient_id(study), client)
    pyorthanc.retrieve_and_write_patients([patient], tmp_path / "written")
    written = sorted((tmp_path / "written").rglob("*.dcm"))
    assert sorted(path.read_bytes() for path in written) == sorted(
        path.read_bytes() for path in files
    )


# -- metadata and attachments --------------------------------------------------------------


def test_metadata(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    identifier = instance_id(study, 1)
    names = client.get_instances_id_metadata(identifier)
    assert {"ReceptionDate", "TransferSyntax", "SopClassUid", "Origin"} <= set(names)
    syntax = client.get_instances_id_metadata_name(identifier, "TransferSyntax")
    assert syntax in ("1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1")
    # The numbers from 1024 on are for whoever wants one.
    client.put_studies_id_metadata_name(study_id(study), "1024", data="read")
    told = client.get_studies_id_metadata_name(study_id(study), "1024")
    assert told in ("read", b"read")
    assert "1024" in client.get_studies_id_metadata(study_id(study))
    client.delete_studies_id_metadata_name(study_id(study), "1024")
    with pytest.raises(httpx.HTTPError, match="HTTP code: 404"):
        client.get_studies_id_metadata_name(study_id(study), "1024")


def test_attachments(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    assert "dicom" in client.get_instances_id_attachments(instance_id(study, 1))
    data = client.get_instances_id_attachments_name_data(instance_id(study, 1), "dicom")
    assert data == files[0].read_bytes()
    client.put_studies_id_attachments_name(study_id(study), "1024", content=b"\0report")
    data = client.get_studies_id_attachments_name_data(study_id(study), "1024")
    assert data == b"\0report"
    assert "1024" in client.get_studies_id_attachments(study_id(study))
    client.delete_studies_id_attachments_name(study_id(study), "1024")
    assert "1024" not in client.get_studies_id_attachments(study_id(study))


# -- deleting, and hearing of it -----------------------------------------------------------


def test_delete_from_the_bottom_up(
    client: pyorthanc.Orthanc, study: str, files: list[Path]
) -> None:
    remaining = client.delete_instances_id(instance_id(study, 1))["RemainingAncestor"]
    assert (remaining["Type"], remaining["ID"]) == ("Series", series_id(study))
    assert len(pyorthanc.Series(series_id(study), client).instances) == FILES - 1
    assert client.delete_studies_id(study_id(study))["RemainingAncestor"] is None
    assert find_patients(client, query={"PatientID": f"TEST-{study}"}) == []


def test_changes_tell_of_what_has_come(
    client: pyorthanc.Orthanc, study: str, tmp_path: Path
) -> None:
    before = client.get_changes(params={"last": True})["Last"]
    for path in ct_files(tmp_path, 2, study=study):
        upload(client, path)
    expected = {
        ("NewPatient", patient_id(study)),
        ("NewStudy", study_id(study)),
        ("NewSeries", series_id(study)),
        ("NewInstance", instance_id(study, 1)),
        ("NewInstance", instance_id(study, 2)),
    }
    seen: list[tuple[str, str]] = []
    since = before
    # What other tests have sent becomes stable in the meantime, and is told as well.
    while not expected <= set(seen):
        page = client.get_changes(params={"since": since, "limit": 3})
        numbers = [change["Seq"] for change in page["Changes"]]
        assert numbers == sorted(numbers)
        seen += [(change["ChangeType"], change["ID"]) for change in page["Changes"]]
        since = page["Last"]
    assert all(seen.count(change) == 1 for change in expected)


def test_patient_is_protected(client: pyorthanc.Orthanc, study: str, files: list[Path]) -> None:
    patient = pyorthanc.Patient(patient_id(study), client)
    assert patient.protected is False
    patient.protected = True
    assert patient.protected is True
    patient.protected = False
    assert patient.protected is False


# -- other nodes ---------------------------------------------------------------------------


def test_modalities(client: pyorthanc.Orthanc) -> None:
    assert {"other", "store", "nobody"} <= set(client.get_modalities())
    assert Modality(client, "other").echo() is True
    assert Modality(client, "nobody").echo() is False
    assert Modality(client, "unknown").echo() is False


def test_modality_is_configured(client: pyorthanc.Orthanc) -> None:
    client.put_modalities_id("mine", json={"AET": "MINE", "Host": "10.1.2.3", "Port": 104})
    configured = client.get_modalities(params={"expand": True})["mine"]
    assert (configured["AET"], configured["Host"], configured["Port"]) == ("MINE", "10.1.2.3", 104)
    client.delete_modalities_id("mine")
    assert "mine" not in client.get_modalities()


def test_store_to_a_modality(
    client: pyorthanc.Orthanc, judged: Judged, study: str, files: list[Path], tmp_path: Path
) -> None:
    with storescp(tmp_path / "in", "STORE", port=judged.store_port):
        sent = Modality(client, "store").store(study_id(study))
    assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (FILES, 0)
    arrived = sorted(data_set_bytes(path) for path in (tmp_path / "in").iterdir())
    assert arrived == sorted(map(data_set_bytes, files))


def test_store_as_a_job(
    client: pyorthanc.Orthanc, judged: Judged, study: str, files: list[Path], tmp_path: Path
) -> None:
    body = {"Resources": [series_id(study)], "Asynchronous": True}
    with storescp(tmp_path / "in", "STORE", port=judged.store_port):
        job = Job(client.post_modalities_id_store("store", json=body)["ID"], client)
        job.wait_until_completion(time_interval=0)  # type: ignore[arg-type]
    assert (job.state, job.progress, job.error.value) == (State.success, 100, 0)
    assert job.content["InstancesCount"] == FILES
    assert job.type == "DicomModalityStore"
    assert job.completion_time is not None
    assert job.creation_time <= job.completion_time
    assert job.id_ in client.get_jobs()
    failed = Job(client.post_modalities_id_store("nobody", json=body)["ID"], client)
    failed.wait_until_completion(time_interval=0)
    assert (failed.state, failed.error.value) == (State.failure, 9)


def test_query_and_retrieve(client: pyorthanc.Orthanc, judged: Judged) -> None:
    other = Modality(client, "other")
    query = {"Level": "Study", "Query": {"PatientID": "TEST-*", "StudyDescription": ""}}
    assert {each["PatientID"] for each in other.find(query)["answers"]} == {
        "TEST-there",
        "TEST-elsewhere",
    }
    query = {"Level": "Study", "Query": {"PatientID": "TEST-there"}}
    found = other.query(query)
    told = other.move(found["ID"], {"TargetAet": judged.aet})
    assert told["RemoteAet"] == "OTHER"
    brought = pyorthanc.Study(study_id("there"), client)
    assert len(brought.series[0].instances) == 3
    pyorthanc.util.delete_queries(client)
    assert client.get_queries() == []


def test_asynchronous_client(judged: Judged, study: str, tmp_path: Path) -> None:
    (path,) = ct_files(tmp_path, 1, study=study)

    async def through() -> tuple[str, bytes]:
        async with pyorthanc.AsyncOrthanc(judged.url, timeout=60) as client:
            stored = await pyorthanc.async_upload(client, path)
            return stored["ID"], await client.get_instances_id_file(stored["ID"])

    assert asyncio.run(through()) == (instance_id(study), path.read_bytes())
