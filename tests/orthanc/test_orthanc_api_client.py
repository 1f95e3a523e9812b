"""What orthanc-api-client does with an Orthanc, it does with a Hilum."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from orthanc_api_client import OrthancApiClient
from orthanc_api_client.change import ChangeType
from orthanc_api_client.exceptions import BadFileFormat, HttpError, ResourceNotFound
from orthanc_api_client.instances_set import InstancesSet
from orthanc_api_client.job import JobStatus, JobType
from pydicom import dcmread

from tests.dcmtk import data_set_bytes, storescp
from tests.generated import ct, ct_files, save, uid
from tests.orthanc.judged import Judged, instance_id, patient_id, series_id, study_id

FILES = 3


@pytest.fixture(scope="module")
def client(judged: Judged) -> Iterator[OrthancApiClient]:
    client = OrthancApiClient(judged.url)
    assert client.wait_started(10)
    yield client
    client.close()


@pytest.fixture
def files(client: OrthancApiClient, study: str, tmp_path: Path) -> list[Path]:
    """Three slices of a study of the test's own, on the server."""
    paths = ct_files(tmp_path / "own", FILES, study=study, SeriesDescription="Axial")
    assert len(client.upload_folder(str(tmp_path / "own"))) == FILES
    return paths


def test_system_and_statistics(client: OrthancApiClient, files: list[Path]) -> None:
    assert client.is_alive()
    assert client.is_orthanc_version_at_least(1, 10, 0)
    assert not client.has_loaded_plugin("dicom-web")
    assert client.get_log_level() == "default"
    assert client.get_metrics() is not None
    told = client.get_statistics()
    assert told.instances_count >= FILES
    assert told.total_disk_size >= sum(path.stat().st_size for path in files)
    assert min(told.patients_count, told.studies_count, told.series_count) >= 1


# -- taking in -----------------------------------------------------------------------------


def test_upload_of_files_folders_and_zips(
    client: OrthancApiClient, study: str, tmp_path: Path
) -> None:
    ct_files(tmp_path / "folder" / "deep", 2, study=study)
    assert set(client.upload_folder(str(tmp_path / "folder"))) == {
        instance_id(study, 1),
        instance_id(study, 2),
    }
    third = save(ct(3, study=study), tmp_path / "3.dcm")
    assert client.upload_file(str(third)) == [instance_id(study, 3)]
    with zipfile.ZipFile(tmp_path / "zip.zip", "w") as archive:
        archive.write(save(ct(4, study=study), tmp_path / "4.dcm"), "4.dcm")
        archive.write(save(ct(5, study=study), tmp_path / "5.dcm"), "5.dcm")
    assert set(client.upload_file(str(tmp_path / "zip.zip"))) == {
        instance_id(study, 4),
        instance_id(study, 5),
    }


def test_upload_of_a_folder_with_a_report(
    client: OrthancApiClient, study: str, tmp_path: Path
) -> None:
    ct_files(tmp_path / "mixed", 2, study=study)
    (tmp_path / "mixed" / "notes.txt").write_text("no DICOM")
    uids, ids, rejected = client.upload_folder_return_details(str(tmp_path / "mixed"))
    assert (uids, ids) == ({uid(study)}, {study_id(study)})
    assert [Path(path).name for path, _ in rejected] == ["notes.txt"]


def test_upload_of_what_is_no_dicom_is_told_as_such(client: OrthancApiClient) -> None:
    with pytest.raises(BadFileFormat):
        client.upload(b"no DICOM at all")
    assert client.upload(b"no DICOM at all", ignore_errors=True) == []


# -- finding -------------------------------------------------------------------------------


def test_lookup_at_every_level(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    assert client.lookup(uid(study)) == [study_id(study)]
    assert client.studies.lookup(uid(study)) == study_id(study)
    assert client.series.lookup(uid(study, 1)) == series_id(study)
    assert client.instances.lookup(uid(study, 1, 2)) == instance_id(study, 2)
    assert client.patients.lookup(f"TEST-{study}") == patient_id(study)
    assert client.studies.lookup("1.2.3.4.5") is None


def test_find_studies(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    (found,) = client.studies.find({"PatientID": f"TEST-{study}", "StudyDate": "20260101-"})
    assert found.orthanc_id == study_id(study)
    assert found.dicom_id == uid(study)
    assert found.main_dicom_tags.get("StudyDescription") == "Generated"
    assert found.patient_main_dicom_tags.get("PatientName") == f"Test^{study}"
    assert client.studies.find({"PatientName": f"test^{study}"}, case_sensitive=True) == []
    (found,) = client.studies.find({"PatientName": f"test^{study}"}, case_sensitive=False)
    assert found.orthanc_id == study_id(study)


def test_study_knows_what_is_in_it(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    found = client.studies.get(study_id(study))
    assert found.info.series_ids == [series_id(study)]
    assert found.info.patient_orthanc_id == patient_id(study)
    assert (found.statistics.instances_count, found.statistics.series_count) == (FILES, 1)
    assert found.statistics.disk_size >= sum(path.stat().st_size for path in files)
    assert found.last_update is not None
    assert client.studies.get_modalities(study_id(study)) == {"CT"}
    assert client.studies.get_parent_patient_id(study_id(study)) == patient_id(study)
    assert set(client.studies.get_instances_ids(study_id(study))) == {
        instance_id(study, number) for number in (1, 2, 3)
    }
    assert client.studies.get_first_instance_tags(study_id(study)).get("Modality") == "CT"
    (series,) = found.series
    assert series.main_dicom_tags.get("SeriesDescription") == "Axial"
    assert series.statistics.instances_count == FILES


def test_ids_and_existence(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    assert study_id(study) in client.studies.get_all_ids()
    assert patient_id(study) in client.patients.get_all_ids()
    assert client.instances.exists(instance_id(study))
    assert not client.instances.exists(instance_id("nobody"))
    assert client.instances.get_parent_series_id(instance_id(study)) == series_id(study)
    assert client.instances.get_parent_study_id(instance_id(study)) == study_id(study)
    assert client.instances.get_parent_patient_id(instance_id(study)) == patient_id(study)
    with pytest.raises(ResourceNotFound):
        client.studies.get(study_id("nobody")).info  # noqa: B018


# -- contents ------------------------------------------------------------------------------


def test_tags_by_name_and_number(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    tags = client.instances.get_tags(instance_id(study, 2))
    assert (tags["PatientID"], tags["0010-0020"]) == (f"TEST-{study}", f"TEST-{study}")
    assert tags.get("InstanceNumber") == "2"
    assert "StudyInstanceUID" in tags
    assert "PatientWeight" not in tags
    instance = client.instances.get(instance_id(study, 2))
    assert instance.tags["SOPInstanceUID"] == uid(study, 1, 2)
    assert not client.instances.is_pdf(instance_id(study, 2))


def test_files_are_what_was_uploaded(
    client: OrthancApiClient, study: str, files: list[Path], tmp_path: Path
) -> None:
    assert client.instances.get_file(instance_id(study, 1)) == files[0].read_bytes()
    (tmp_path / "down").mkdir()
    downloaded = client.studies.download_instances(study_id(study), str(tmp_path / "down"))
    assert len(downloaded) == FILES
    assert sorted(path.read_bytes() for path in (tmp_path / "down").iterdir()) == sorted(
        path.read_bytes() for path in files
    )


def test_archive_and_media(
    client: OrthancApiClient, study: str, files: list[Path], tmp_path: Path
) -> None:
    for resources, identifier in (
        (client.patients, patient_id(study)),
        (client.studies, study_id(study)),
        (client.series, series_id(study)),
    ):
        resources.download_archive(identifier, str(tmp_path / "archive.zip"))
        with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
            stored = sorted(archive.read(name) for name in archive.namelist())
        assert stored == sorted(path.read_bytes() for path in files)
    client.studies.download_media(study_id(study), str(tmp_path / "media.zip"))
    with zipfile.ZipFile(tmp_path / "media.zip") as archive:
        assert "DICOMDIR" in archive.namelist()


def test_set_of_instances_is_downloaded(
    client: OrthancApiClient, study: str, files: list[Path], tmp_path: Path
) -> None:
    chosen = InstancesSet.from_study(client, study_id=study_id(study))
    assert len(chosen.instances_ids) == FILES
    left_out = chosen.filter_instances(
        lambda api, each: api.instances.get_tags(each).get("InstanceNumber") != "2"
    )
    assert left_out.instances_ids == [instance_id(study, 2)]
    chosen.download_archive(str(tmp_path / "chosen.zip"))
    with zipfile.ZipFile(tmp_path / "chosen.zip") as archive:
        stored = sorted(archive.read(name) for name in archive.namelist())
    assert stored == sorted(path.read_bytes() for path in (files[0], files[2]))
    chosen.download_media(str(tmp_path / "media.zip"))
    with zipfile.ZipFile(tmp_path / "media.zip") as archive:
        assert "DICOMDIR" in archive.namelist()


def test_set_of_instances_is_deleted(
    client: OrthancApiClient, study: str, files: list[Path]
) -> None:
    chosen = InstancesSet.from_study(client, study_id=study_id(study))
    client.upload(_content(4, study))  # came while the others were looked at
    chosen.delete()
    assert client.studies.get_instances_ids(study_id(study)) == [instance_id(study, 4)]


def _content(number: int, study: str) -> bytes:
    file = io.BytesIO()
    ct(number, study=study).save_as(file, enforce_file_format=True)
    return file.getvalue()


# -- metadata and attachments --------------------------------------------------------------


def test_metadata(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    told = client.instances.get_metadata(instance_id(study, 1))
    assert told["TransferSyntax"] == "1.2.840.10008.1.2.1"
    assert told["SopClassUid"] == "1.2.840.10008.5.1.4.1.1.2"
    assert told["IndexInSeries"] == "1"
    studies, identifier = client.studies, study_id(study)
    assert not studies.has_metadata(identifier, "1024")
    assert studies.get_string_metadata(identifier, "1024", default_value="none") == "none"
    studies.set_string_metadata(identifier, "1024", "gelesen: Müller")
    assert studies.has_metadata(identifier, "1024")
    assert studies.get_string_metadata(identifier, "1024") == "gelesen: Müller"
    client.instances.set_binary_metadata(instance_id(study, 1), "1025", b"\0\1\2")
    assert client.instances.get_binary_metadata(instance_id(study, 1), "1025") == b"\0\1\2"


def test_attachments(
    client: OrthancApiClient, study: str, files: list[Path], tmp_path: Path
) -> None:
    client.studies.set_attachment(study_id(study), "1025", content=b"a report\0")
    assert client.studies.get_attachment(study_id(study), "1025") == b"a report\0"
    client.studies.download_attachment(study_id(study), "1025", str(tmp_path / "report"))
    assert (tmp_path / "report").read_bytes() == b"a report\0"
    dicom = client.instances.get_attachment(instance_id(study, 1), "dicom")
    assert dicom == files[0].read_bytes()
    with pytest.raises(ResourceNotFound):
        client.studies.get_attachment(study_id(study), "1026")


# -- deleting, and hearing of it -----------------------------------------------------------


def test_delete(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    client.instances.delete(instance_id(study, 1))
    assert len(client.series.get_instances_ids(series_id(study))) == FILES - 1
    client.studies.delete(orthanc_ids=[study_id(study)])
    assert not client.studies.exists(study_id(study))
    assert not client.patients.exists(patient_id(study))
    with pytest.raises(ResourceNotFound):
        client.studies.delete(study_id(study))
    client.studies.delete(study_id(study), ignore_errors=True)


def test_changes(client: OrthancApiClient, study: str, tmp_path: Path) -> None:
    last, done = 0, False
    while not done:
        _, last, done = client.get_changes(since=last, limit=100)
    (path,) = ct_files(tmp_path, 1, study=study)
    client.upload_file(str(path))
    seen: set[tuple[str, str]] = set()
    while (
        not {
            (ChangeType.NEW_INSTANCE, instance_id(study)),
            (ChangeType.NEW_STUDY, study_id(study)),
            (ChangeType.STABLE_STUDY, study_id(study)),
        }
        <= seen
    ):
        changes, last, _ = client.get_changes(since=last, limit=100)
        seen |= {(change.change_type, change.resource_id) for change in changes}


# -- other nodes ---------------------------------------------------------------------------


def test_modality_is_configured(client: OrthancApiClient) -> None:
    assert {"other", "store", "nobody"} <= set(client.modalities.get_all_ids())
    client.modalities.configure("mine", {"AET": "MINE", "Host": "10.1.2.3", "Port": 104})
    told = client.modalities.get_configuration("mine")
    assert (told["AET"], told["Host"], told["Port"]) == ("MINE", "10.1.2.3", 104)
    client.modalities.delete("mine")
    with pytest.raises(ResourceNotFound):
        client.modalities.get_configuration("mine")


def test_send_and_wait(
    client: OrthancApiClient, judged: Judged, study: str, files: list[Path], tmp_path: Path
) -> None:
    with storescp(tmp_path / "in", "STORE", port=judged.store_port):
        client.modalities.send("store", [study_id(study)], timeout=20)
    arrived = sorted(data_set_bytes(path) for path in (tmp_path / "in").iterdir())
    assert arrived == sorted(map(data_set_bytes, files))
    with pytest.raises(HttpError) as failed:
        client.modalities.send("nobody", study_id(study))
    assert failed.value.http_status_code == 500
    with pytest.raises(ResourceNotFound):
        client.modalities.send("unknown", study_id(study))


def test_send_and_look_later(
    client: OrthancApiClient, judged: Judged, study: str, files: list[Path], tmp_path: Path
) -> None:
    with storescp(tmp_path / "in", "STORE", port=judged.store_port):
        job = client.modalities.send_async("store", series_id(study), local_aet="ME")
        assert job.wait_completed(timeout=30, polling_interval=0.05)
    assert (job.info.status, job.info.type) == (JobStatus.SUCCESS, JobType.DICOM_MODALITY_STORE)
    assert (job.content["LocalAet"], job.content["InstancesCount"]) == ("ME", FILES)
    failed = client.modalities.send_async("nobody", series_id(study))
    assert failed.wait_completed(timeout=30, polling_interval=0.05)
    assert failed.info.status == JobStatus.FAILURE
    with storescp(tmp_path / "later", "NOBODY") as port:
        client.modalities.configure("nobody", {"AET": "NOBODY", "Host": "localhost", "Port": port})
        again = client.modalities.send_async("nobody", series_id(study))
        assert again.wait_completed(timeout=30, polling_interval=0.05)
    assert again.info.status == JobStatus.SUCCESS


def test_query_of_studies_series_and_instances(client: OrthancApiClient) -> None:
    found = client.modalities.query_studies("other", {"PatientID": "TEST-*"})
    assert {each.dicom_id for each in found} == {uid("there"), uid("elsewhere")}
    assert {each.tags.get("PatientID") for each in found} == {"TEST-there", "TEST-elsewhere"}
    query = {"StudyInstanceUID": uid("there"), "Modality": ""}
    (series,) = client.modalities.query_series("other", query)
    assert (series.dicom_id, series.tags.get("Modality")) == (uid("there", 1), "CT")
    query = {"StudyInstanceUID": uid("there"), "SeriesInstanceUID": uid("there", 1)}
    assert {each.dicom_id for each in client.modalities.query_instances("other", query)} == {
        uid("there", 1, number) for number in (1, 2, 3)
    }


def test_study_is_retrieved(client: OrthancApiClient) -> None:
    brought = client.modalities.retrieve_study("other", uid("elsewhere"))
    assert brought == study_id("elsewhere")
    assert len(client.studies.get_instances_ids(brought)) == 1


def test_everything_is_deleted(client: OrthancApiClient, files: list[Path]) -> None:
    client.delete_all_content()
    assert client.patients.get_all_ids() == []
    assert client.instances.get_all_ids() == []
    assert client.get_statistics().instances_count == 0


def test_instance_is_modified(client: OrthancApiClient, study: str, files: list[Path]) -> None:
    new_uid = uid(study, "new")
    content = client.instances.modify(
        instance_id(study, 1),
        replace_tags={"SeriesInstanceUID": new_uid, "SeriesDescription": "moved"},
        remove_tags=["StudyDescription"],
        keep_tags=["SOPInstanceUID"],
        force=True,
    )
    before, after = dcmread(files[0]), dcmread(io.BytesIO(content))
    assert (after.SeriesInstanceUID, after.SeriesDescription) == (new_uid, "moved")
    assert (after.SOPInstanceUID, after.StudyInstanceUID) == (
        before.SOPInstanceUID,
        before.StudyInstanceUID,
    )
    assert "StudyDescription" not in after
    with pytest.raises(HttpError):
        client.instances.modify(instance_id(study, 1), replace_tags={"PatientID": "x"})
