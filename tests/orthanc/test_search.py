"""Finding: the same questions to both, the same resources."""

import codecs
from typing import Any

import pytest

from tests.generated import uid
from tests.orthanc.side_by_side import NEWER, SideBySide, ask, in_order

#: Level and keys, as clients ask.
QUERIES: list[tuple[str, dict[str, str]]] = [
    ("Study", {}),
    ("Patient", {"PatientID": ""}),
    ("Study", {"PatientID": "1CT1"}),
    ("Study", {"PatientID": "1ct1"}),
    ("Patient", {"PatientID": "test-*"}),
    ("Patient", {"PatientName": "TEST^*"}),
    ("Study", {"PatientName": "*t^t?o"}),
    ("Study", {"PatientName": "Test^two"}),
    ("Study", {"0010,0020": "TEST-two\\TEST-pet"}),
    ("Study", {"StudyDate": "20260102"}),
    ("Study", {"StudyDate": "20040101-20041231"}),
    ("Study", {"StudyDate": "20040826-"}),
    ("Study", {"AccessionNumber": "atwo"}),
    ("Study", {"StudyDescription": "gen*ed"}),
    ("Study", {"StudyInstanceUID": uid("two")}),
    ("Study", {"StudyInstanceUID": f"{uid('two')}\\{uid('pet')}"}),
    ("Study", {"ModalitiesInStudy": "MR\\NM"}),
    ("Study", {"StudyDate": "20260102", "PatientID": "TEST-cardiac"}),
    ("Series", {"Modality": "mr"}),
    ("Series", {"Modality": "CT", "StudyInstanceUID": uid("two")}),
    ("Series", {"SeriesNumber": "2", "PatientID": "TEST-two"}),
    ("Series", {"SeriesInstanceUID": uid("two", 2)}),
    ("Instance", {"SOPInstanceUID": uid("two", 2, 1)}),
    ("Instance", {"StudyInstanceUID": uid("two")}),
    ("Instance", {"SeriesInstanceUID": uid("two", 1), "InstanceNumber": "2"}),
    ("Instance", {"ImageComments": "NUMBER*"}),
    ("Study", {"PatientID": "nobody"}),
]


@pytest.mark.parametrize(("level", "query"), QUERIES)
def test_find(stored: SideBySide, level: str, query: dict[str, str]) -> None:
    body: dict[str, Any] = {"Level": level, "Query": query}
    ids = stored.same("/tools/find", "POST", body, key=sorted)
    counted = ask(stored.hilum.http_url, "/tools/count-resources", "POST", body).json
    assert counted == {"Count": len(ids)}
    pages = [
        ask(stored.hilum.http_url, "/tools/find", "POST", {**body, "Since": since, "Limit": 7}).json
        for since in range(0, len(ids), 7)
    ]
    assert [key for page in pages for key in page] == ask(
        stored.hilum.http_url, "/tools/find", "POST", body
    ).json


def test_something_is_found_by_nearly_every_query(stored: SideBySide) -> None:
    found = [
        ask(stored.hilum.http_url, "/tools/find", "POST", {"Level": level, "Query": query}).json
        for level, query in QUERIES
    ]
    assert [place for place, ids in enumerate(found) if not ids] == [len(QUERIES) - 1]


@pytest.mark.parametrize("form", [{}, {"Full": True}, {"Short": True}])
def test_what_is_found_is_told(stored: SideBySide, form: dict[str, bool]) -> None:
    body = {"Level": "Study", "Query": {"PatientID": "TEST-*"}, "Expand": True, **form}
    stored.same("/tools/find", "POST", body, differs=NEWER, key=in_order)


def test_case_matters_if_it_is_to(stored: SideBySide) -> None:
    for patient in ("1CT1", "1ct1"):
        body = {"Level": "Study", "Query": {"PatientID": patient}, "CaseSensitive": True}
        stored.same("/tools/find", "POST", body, key=sorted)
    for name in ("test^two", "Test^two", "Te?t^*", "te*", "TEST^TWO\\Test^two", "*"):
        for level in ("Patient", "Study", "Instance"):
            body = {"Level": level, "Query": {"PatientName": name}, "CaseSensitive": True}
            stored.same("/tools/find", "POST", body, key=sorted)


@pytest.mark.parametrize(
    "body",
    [
        "x",
        [],
        {"Level": "Study"},
        {"Query": {}},
        {"Level": "Studyx", "Query": {}},
        {"Level": "Study", "Query": {"PatientID": 5}},
        {"Level": "Study", "Query": {}, "Limit": "a"},
        {"Level": "Study", "Query": {}, "Limit": -1},
    ],
)
def test_what_makes_no_sense_is_refused(stored: SideBySide, body: Any) -> None:
    assert stored.refused("/tools/find", "POST", body) == 400


def test_a_mark_in_front_of_a_body_means_nothing(stored: SideBySide) -> None:
    """`StreamWriter` of .NET writes one."""
    body = codecs.BOM_UTF8 + b'{"Level": "Study", "Query": {}}'
    assert stored.same("/tools/find", "POST", body, key=sorted)


def test_a_key_that_is_not_kept_is_refused_and_not_left_out(stored: SideBySide) -> None:
    for name in ("DeviceSerialNumber", "Nope"):
        body = {"Level": "Study", "Query": {name: "x"}}
        assert ask(stored.hilum.http_url, "/tools/find", "POST", body).status == 400


def test_keys_of_lower_levels_find_what_contains_them(stored: SideBySide) -> None:
    # Orthanc 1.10 finds nothing so.
    body = {"Level": "Patient", "Query": {"SeriesInstanceUID": uid("two", 2)}}
    [found] = ask(stored.hilum.http_url, "/tools/find", "POST", body).json
    study = ask(stored.orthanc.http_url, "/tools/lookup", "POST", uid("two")).json[0]["ID"]
    assert found == ask(stored.orthanc.http_url, f"/studies/{study}").json["ParentPatient"]


def test_within_a_parent(stored: SideBySide) -> None:
    [study] = ask(stored.orthanc.http_url, "/tools/lookup", "POST", uid("two")).json
    series = ask(stored.orthanc.http_url, f"/studies/{study['ID']}").json["Series"]
    body = {"Level": "Series", "Query": {}, "ParentStudy": study["ID"]}
    assert sorted(ask(stored.hilum.http_url, "/tools/find", "POST", body).json) == sorted(series)


def test_requested_tags(stored: SideBySide) -> None:
    """Of Orthanc 1.11: tags of the resource and of what contains it."""
    [series] = ask(stored.orthanc.http_url, "/tools/lookup", "POST", uid("two", 2)).json
    wanted = {"PatientName": "Test^two", "StudyDate": "20260102", "SeriesNumber": "2"}
    names = ("0010,0010", "StudyDate", "SeriesNumber", "NumberOfSeriesRelatedInstances")
    path = f"/series/{series['ID']}?requested-tags={';'.join(names)}"
    told = ask(stored.hilum.http_url, path).json["RequestedTags"]
    assert told == {**wanted, "NumberOfSeriesRelatedInstances": "2"}
    body = {
        "Level": "Series",
        "Query": {"SeriesInstanceUID": uid("two", 2)},
        "Expand": True,
        "RequestedTags": list(names),
    }
    [found] = ask(stored.hilum.http_url, "/tools/find", "POST", body).json
    assert found["RequestedTags"] == told


@pytest.mark.parametrize(
    "identifier",
    ["1CT1", "1ct1", " 1CT1 ", uid("two"), uid("two", 1), uid("two", 1, 2), "nobody", "", "Atwo"],
)
def test_lookup(stored: SideBySide, identifier: str) -> None:
    stored.same("/tools/lookup", "POST", identifier.encode(), key=in_order)


def test_bulk_content(stored: SideBySide) -> None:
    study, instance = stored.ids("studies")[3], stored.ids("instances")[9]
    differs = (*NEWER, "Metadata")
    for body in (
        {"Resources": [study, instance, "nothing"]},
        {"Resources": [study, instance], "Level": "Series", "Short": True},
        {"Resources": [study], "Level": "Patient"},
        {"Resources": [study], "Metadata": False},
    ):
        answer = stored.same("/tools/bulk-content", "POST", body, differs=differs, key=in_order)
        assert answer
    assert stored.refused("/tools/bulk-content", "POST", {}) == 400


# What follows is of Orthanc 1.12.5: Debian's does not heed it. What is expected was seen in 1.13.


def found(servers: SideBySide, level: str, **wanted: Any) -> Any:
    body = {"Level": level, "Query": {}, **wanted}
    return ask(servers.hilum.http_url, "/tools/find", "POST", body).json


def by(kind: str, key: str, direction: str = "ASC") -> dict[str, str]:
    return {"Type": kind, "Key": key, "Direction": direction}


def values(servers: SideBySide, level: str, tag: str) -> dict[str, str]:
    """What Orthanc says of a main tag, by id."""
    told = ask(servers.orthanc.http_url, f"/{level}?expand").json
    return {each["ID"]: each["MainDicomTags"][tag] for each in told if tag in each["MainDicomTags"]}


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize(
    ("level", "tag", "read"),
    [
        ("Study", "StudyDate", str),
        ("Study", "StudyDescription", str),
        ("Series", "SeriesNumber", str),
        ("Instance", "InstanceNumber", int),
    ],
)
def test_order_by_a_tag(
    stored: SideBySide, level: str, tag: str, read: Any, direction: str
) -> None:
    plural = {"Study": "studies", "Series": "series", "Instance": "instances"}[level]
    known = {key: value for key, value in values(stored, plural, tag).items() if value.strip()}
    kind = "DicomTagAsInt" if read is int else "DicomTag"
    order = [by(kind, tag, direction), by("DicomTag", "PatientID")]
    ids = found(stored, level, OrderBy=order)
    assert sorted(ids) == stored.ids(plural)
    told = [read(known[key]) for key in ids if key in known]
    assert told == sorted(told, reverse=direction == "DESC")
    assert set(told) == set(map(read, known.values()))
    pages = [found(stored, level, OrderBy=order, Since=at, Limit=5) for at in range(0, len(ids), 5)]
    assert [key for page in pages for key in page] == ids


def test_order_and_query_by_what_clients_note(stored: SideBySide) -> None:
    url = stored.hilum.http_url
    noted = dict(zip(stored.ids("studies"), ("X-3", "x-10", "Y-2"), strict=False))
    for key, value in noted.items():
        ask(url, f"/studies/{key}/metadata/CaseId", "PUT", value)
    first, second, third = noted
    everything = found(stored, "Study", OrderBy=[by("Metadata", "CaseId")])
    assert everything[:3] == [first, third, second]
    # What has no value comes last, upwards and downwards.
    backwards = found(stored, "Study", OrderBy=[by("Metadata", "1030", "DESC")])
    assert backwards[:3] == [second, third, first]
    assert sorted(everything) == sorted(backwards) == stored.ids("studies")

    def those(value: str, **wanted: Any) -> set[str]:
        return set(found(stored, "Study", MetadataQuery={"CaseId": value}, **wanted))

    assert those("x-3") == those("X-3", CaseSensitive=True) == {first}
    assert those("x-3", CaseSensitive=True) == set()
    assert those("x-*") == those("X-3\\x-10") == {first, second}
    assert those("y-?") == {third}
    assert those("") == set(stored.ids("studies"))
    patient = ask(url, f"/studies/{first}/patient").json["MainDicomTags"]["PatientID"]
    assert first in those("*", Query={"PatientID": patient})
    assert third not in those("x*", Query={"PatientID": patient})
    ask(url, f"/studies/{first}/labels/done", "PUT", b"")
    assert those("*", Labels=["done"]) == {first}
    assert those("*", Labels=["done"], LabelsConstraint="None") == {second, third}
    counted = {"Level": "Study", "Query": {}, "MetadataQuery": {"CaseId": "x*"}}
    assert ask(url, "/tools/count-resources", "POST", counted).json == {"Count": 2}
    assert found(stored, "Series", MetadataQuery={"CaseId": "*"}) == []


def test_content_of_the_response(stored: SideBySide) -> None:
    url = stored.hilum.http_url
    key = stored.ids("studies")[0]
    ask(url, f"/studies/{key}/attachments/report", "PUT", b"seen")
    [uid] = [ask(url, f"/studies/{key}").json["MainDicomTags"]["StudyInstanceUID"]]

    def told(*content: str, level: str = "Study") -> dict[str, Any]:
        query = {"StudyInstanceUID": uid}
        first: dict[str, Any] = found(stored, level, Query=query, ResponseContent=content)[0]
        return first

    expanded = ask(url, f"/studies/{key}").json
    assert told() == {"ID": key, "Type": "Study"}
    for content, names in {
        "MainDicomTags": {"MainDicomTags", "PatientMainDicomTags"},
        "Children": {"Series"},
        "Parent": {"ParentPatient"},
        "Labels": {"Labels"},
        "IsStable": {"IsStable"},
    }.items():
        assert told(content) == {name: expanded[name] for name in ("ID", "Type", *names)}
    assert told("Metadata")["Metadata"] == ask(url, f"/studies/{key}/metadata?expand").json
    [attached] = told("Attachments")["Attachments"]
    assert attached == ask(url, f"/studies/{key}/attachments/report/info").json
    [file] = told("Attachments", level="Instance")["Attachments"]
    assert file["ContentType"] == 1
    assert told("IsProtected", level="Patient")["IsProtected"] is False


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"OrderBy": {}}, 400),
        ({"OrderBy": [by("Tag", "StudyDate")]}, 400),
        ({"OrderBy": [by("DicomTag", "StudyDate", "up")]}, 400),
        ({"OrderBy": [by("DicomTag", "Nope")]}, 400),
        ({"OrderBy": [by("Metadata", "Nope")]}, 404),
        ({"MetadataQuery": {"Nope": "x"}}, 404),
        ({"MetadataQuery": {"CaseId": 5}}, 400),
        ({"ResponseContent": "Labels"}, 400),
        ({"ResponseContent": ["Nope"]}, 400),
        # Not kept where it could be looked for.
        ({"MetadataQuery": {"LastUpdate": "2026*"}}, 400),
    ],
)
def test_what_makes_no_sense_of_it_is_refused(
    stored: SideBySide, wanted: dict[str, Any], status: int
) -> None:
    body = {"Level": "Study", "Query": {}, **wanted}
    assert ask(stored.hilum.http_url, "/tools/find", "POST", body).status == status
