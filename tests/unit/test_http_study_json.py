"""Study JSON out of DICOM JSON that pydicom has written."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom.dataset import Dataset

from hilum.http.study_json import person_name, study_json, study_tree_json
from hilum.index.stored import Match
from hilum.services.search import StudyTree
from tests.generated import ct


def match(data_set: Dataset, **values: Any) -> Match:
    attributes = data_set.to_json_dict(bulk_data_threshold=16, bulk_data_element_handler=str)
    return Match(attributes=attributes, patient="p", **values)


def test_a_study_is_told_in_plain_values() -> None:
    data_set = ct(
        PatientBirthDate="19700131",
        PatientSex="F",
        ReferringPhysicianName="Ref^Erring",
        ModalitiesInStudy=["CT", "SR"],
        NumberOfStudyRelatedSeries=2,
        NumberOfStudyRelatedInstances=30,
    )
    received = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    told = study_json(match(data_set, study="s", frame_count=99, received_at=received))
    assert told == {
        "studyInstanceUID": data_set.StudyInstanceUID,
        "patientName": "Test^1",
        "patientID": "TEST-1",
        "patientBirthDate": "19700131",
        "patientSex": "F",
        "studyDate": "20260102",
        "studyTime": "030405",
        "studyDescription": "Generated",
        "accessionNumber": "A1",
        "referringPhysicianName": "Ref^Erring",
        "modalities": ["CT", "SR"],
        "seriesCount": 2,
        "instanceCount": 30,
        "frameCount": 99,
        "receivedAt": "2026-01-02T03:04:05+00:00",
        "orthancStudyId": "s",
    }


def test_what_is_missing_is_an_empty_text_or_no_number() -> None:
    told = study_json(match(Dataset(), study="s"))
    assert {told["patientName"], told["studyDate"], told["accessionNumber"]} == {""}
    assert (told["seriesCount"], told["receivedAt"], told["modalities"]) == (0, None, [])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}, "Yamada^Tarou"),
        ({"Alphabetic": "", "Ideographic": "山田^太郎"}, "山田^太郎"),
        ({"Phonetic": "やまだ^たろう"}, "やまだ^たろう"),
        ({}, ""),
    ],
)
def test_a_name_is_its_first_group(value: dict[str, str], name: str) -> None:
    assert person_name(value) == name


def test_numbers_that_are_kept_as_text_are_numbers_all_the_same() -> None:
    data_set = ct(FrameTime="33.50", WindowCenter=["40", "50"])
    instance = match(data_set, series="a", instance="i", frame_count=1)
    instance.attributes["00200013"] = {"vr": "IS", "Value": ["07 "]}
    instance.attributes["00280010"] = {"vr": "US", "Value": ["many"]}
    tree = StudyTree(match(data_set), [match(data_set, series="a")], [instance])
    told = study_tree_json(tree)["series"][0]["instances"][0]
    assert (told["instanceNumber"], told["rows"]) == (7, None)
    assert (told["frameTime"], told["windowCenter"]) == (33.5, 40)


def test_an_instance_that_came_after_its_series_was_read_waits_for_the_next_answer() -> None:
    data_set = ct()
    instances = [match(data_set, series=name, instance=name, frame_count=2) for name in "ab"]
    series = study_tree_json(StudyTree(match(data_set), [match(data_set, series="b")], instances))[
        "series"
    ]
    assert [(one["frameCount"], one["firstFrame"]) for one in series] == [(2, 0)]
