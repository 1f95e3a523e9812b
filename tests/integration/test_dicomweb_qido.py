"""QIDO-RS asked by clients that others wrote; what they are told is what the files say.

Expected values are read with dcmdump and pydicom from the files that were uploaded.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from dicomtrolley.core import QueryLevels
from dicomtrolley.qido_rs import HierarchicalQuery, QidoRS, RelationalQuery
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from hilum.core.levels import COMPUTED_KEYWORDS, STORED_KEYWORDS, json_tag
from tests import dcmtk
from tests.corpus import charset_files, pydicom_files
from tests.generated import ct, ct_files, save, uid
from tests.nodes import RunningNode

#: Of pydicom's own: one each of several classes, compressed and not, with and without pixels.
FILES = [
    path
    for path in pydicom_files()
    if path.name
    in {
        "CT_small.dcm",
        "MR_small.dcm",
        "JPEG2000.dcm",
        "color-pl.dcm",
        "rtdose.dcm",
        "reportsi.dcm",
        "waveform_ecg.dcm",
        "examples_ybr_color.dcm",
        "liver_1frame.dcm",
    }
] + [path for name, path in charset_files().items() if name in {"chrH31", "chrGreek", "chrX1"}]
SLICES = 12


@pytest.fixture(scope="module")
def node(shared_node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> RunningNode:
    """A node with the corpus and a series of generated slices."""
    folder = tmp_path_factory.mktemp("ct")
    ct_files(folder, SLICES, study="qido")
    for path in FILES:
        upload(shared_node, path)
    dcmtk.storescu(shared_node.peer, "+sd", folder)
    return shared_node


def upload(node: RunningNode, path: Path) -> None:
    with path.open("rb") as file:
        answer = requests.post(
            f"{node.http_url}/api/dicom/upload", files={"file": file}, timeout=60
        )
    answer.raise_for_status()


@pytest.fixture(scope="module")
def client(node: RunningNode) -> DICOMwebClient:
    return DICOMwebClient(f"{node.http_url}/dicom-web")


@pytest.fixture(scope="module")
def trolley(node: RunningNode) -> Iterator[QidoRS]:
    with requests.Session() as session:
        yield QidoRS(session, f"{node.http_url}/dicom-web")


def get(node: RunningNode, path: str, **headers: str) -> requests.Response:
    return requests.get(f"{node.http_url}/dicom-web{path}", headers=headers, timeout=30)


def value(data_set: dict[str, Any], keyword: str) -> Any:
    return data_set[json_tag(keyword)].get("Value", [None])[0]


def warnings(answer: requests.Response) -> list[str]:
    # As they were sent: `requests` joins headers of one name.
    return answer.raw.headers.getlist("Warning")


# What the files say -------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_attribute_of_an_instance_is_that_of_its_file(
    client: DICOMwebClient, path: Path
) -> None:
    file = pydicom.dcmread(path, stop_before_pixels=True)
    [found] = client.search_for_instances(
        search_filters={"SOPInstanceUID": str(file.SOPInstanceUID)}, fields=["all"]
    )
    told = Dataset.from_json(found)
    computed = {keyword for keywords in COMPUTED_KEYWORDS.values() for keyword in keywords}
    kept = {keyword for keywords in STORED_KEYWORDS.values() for keyword in keywords}
    edge = {"SpecificCharacterSet", "InstanceAvailability", "RetrieveURL"}
    present = {each.keyword for each in file if each.keyword in kept and not each.is_empty}
    assert {each.keyword for each in told if not each.is_empty} - computed - edge == present
    for keyword in present:
        assert_same(told[keyword].value, file[keyword].value)


def assert_same(told: Any, said: Any) -> None:
    if isinstance(said, pydicom.Sequence):
        assert len(told) == len(said)
        for told_item, said_item in zip(told, said, strict=True):
            assert set(told_item.keys()) == set(said_item.keys())
            for tag in said_item.keys():  # noqa: SIM118 - iterating a data set gives elements
                assert_same(told_item[tag].value, said_item[tag].value)
    else:
        assert told == said or str(told).rstrip() == str(said).rstrip()


def test_instances_are_those_that_dcmdump_reads(node: RunningNode) -> None:
    path = next(path for path in FILES if path.name == "CT_small.dcm")
    dumped = dcmtk.dump(
        path,
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
        *("InstanceNumber", "Rows", "Columns", "BitsAllocated"),
    )
    series = f"/studies/{dumped['StudyInstanceUID']}/series/{dumped['SeriesInstanceUID']}"
    [found] = get(node, f"{series}/instances").json()
    for keyword in ("SOPInstanceUID", "SOPClassUID"):
        assert value(found, keyword) == dumped[keyword]
    for keyword in ("InstanceNumber", "Rows", "Columns", "BitsAllocated"):
        assert value(found, keyword) == int(dumped[keyword])
    assert value(found, "RetrieveURL") == (
        f"{node.http_url}/dicom-web{series}/instances/{dumped['SOPInstanceUID']}"
    )
    assert value(found, "InstanceAvailability") == "ONLINE"
    assert list(found) == sorted(found)
    # Of levels that the path has named there is nothing but the UID.
    assert json_tag("PatientName") not in found
    assert value(found, "StudyInstanceUID") == dumped["StudyInstanceUID"]


def test_studies_count_what_they_have(client: DICOMwebClient) -> None:
    [found] = client.search_for_studies(search_filters={"StudyInstanceUID": uid("qido")})
    assert value(found, "NumberOfStudyRelatedSeries") == 1
    assert value(found, "NumberOfStudyRelatedInstances") == SLICES
    assert found[json_tag("ModalitiesInStudy")]["Value"] == ["CT"]
    [series] = client.search_for_series(uid("qido"))
    assert value(series, "NumberOfSeriesRelatedInstances") == SLICES
    assert value(series, "RetrieveURL").endswith(
        f"/dicom-web/studies/{uid('qido')}/series/{uid('qido', 1)}"
    )


def test_all_studies_series_and_instances_are_found(client: DICOMwebClient) -> None:
    files = [pydicom.dcmread(path, stop_before_pixels=True) for path in FILES]
    for search, keyword in (
        (client.search_for_studies, "StudyInstanceUID"),
        (client.search_for_series, "SeriesInstanceUID"),
        (client.search_for_instances, "SOPInstanceUID"),
    ):
        found = [value(each, keyword) for each in search()]
        assert {str(file[keyword].value) for file in files} <= set(found)
        assert len(found) == len(set(found))


# Keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["PatientName=yamada*", "00100010=山田*", "PatientName=taro&fuzzymatching=true"],
)
def test_names_are_found_in_every_script(node: RunningNode, key: str) -> None:
    names = [value(each, "PatientName") for each in get(node, f"/studies?{key}").json()]
    assert {
        "Alphabetic": "Yamada^Tarou",
        "Ideographic": "山田^太郎",
        "Phonetic": "やまだ^たろう",
    } in names


def test_keys_of_all_levels_narrow_a_search_of_instances(client: DICOMwebClient) -> None:
    files = [pydicom.dcmread(path, stop_before_pixels=True) for path in FILES]
    expected = {
        str(file.SOPInstanceUID) for file in files if file.get("Modality") in {"CT", "MR"}
    } | {uid("qido", 1, number) for number in range(1, SLICES + 1)}
    found = client.search_for_instances(search_filters={"Modality": "CT\\MR"})
    assert {value(each, "SOPInstanceUID") for each in found} == expected
    [one] = client.search_for_instances(
        search_filters={"PatientID": "TEST-qido", "Modality": "CT", "InstanceNumber": "7"}
    )
    assert value(one, "SOPInstanceUID") == uid("qido", 1, 7)


def test_fields_are_included_by_keyword_tag_and_item(node: RunningNode) -> None:
    path = f"/studies/{uid('qido')}/series"
    plain, asked = (
        get(node, path + query).json()[0]
        for query in ("", "?includefield=StudyDescription,00081010&includefield=00400275.00401001")
    )
    assert json_tag("StudyDescription") not in plain
    assert value(asked, "StudyDescription") == "Generated"
    assert asked[json_tag("StationName")] == {"vr": "SH"}  # asked for, and not there
    everything = get(node, path + "?includefield=all").json()[0]
    assert json_tag("StationName") not in everything
    assert {tag for tag, element in asked.items() if len(element) > 1} - set(everything) == {
        json_tag("StudyDescription")  # of a level that the path has named
    }


def test_of_a_sequence_no_more_than_the_items_that_are_asked_for(
    shared_node: RunningNode, tmp_path: Path
) -> None:
    codes = []
    for code, meaning in (("P5-09051", "Magnetic resonance imaging"), ("X", "Other")):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SRT", meaning
        codes.append(item)
    study = ct(study="codes", ProcedureCodeSequence=codes)
    upload(shared_node, save(study, tmp_path / "codes.dcm"))
    key = "ProcedureCodeSequence.CodeValue=P5-09051"
    [found] = get(shared_node, f"/studies?{key}").json()
    assert value(found, "StudyInstanceUID") == uid("codes")
    path = f"/studies?StudyInstanceUID={uid('codes')}"
    [found] = get(shared_node, f"{path}&includefield=00081032.00080104").json()
    assert found[json_tag("ProcedureCodeSequence")]["Value"] == [
        {json_tag("CodeMeaning"): {"vr": "LO", "Value": [each.CodeMeaning]}} for each in codes
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=-1", "limit"),
        ("offset=x", "offset"),
        ("StudyDate=yesterday", "StudyDate"),
        ("fuzzymatching=perhaps", "fuzzymatching"),
        ("NumberOfStudyRelatedSeries=many", "NumberOfStudyRelatedSeries"),
    ],
)
def test_values_that_are_none_are_refused(node: RunningNode, query: str, said: str) -> None:
    answer = get(node, f"/studies?{query}")
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_uid_that_is_none_is_refused(node: RunningNode) -> None:
    assert get(node, "/studies/1.2%2F3/series").status_code == 400


def test_unknown_keys_are_ignored_and_named(node: RunningNode) -> None:
    query = "StudyInstanceUID={}&Shoe%22Size=43&Modality=US&includefield=Nonsense,00091001"
    answer = get(node, "/studies?" + query.format(uid("qido")))
    assert answer.status_code == 200
    assert len(answer.json()) == 1
    [warning] = warnings(answer)
    assert warning.startswith("299 Hilum ")
    for name in ("Shoe'Size", "Modality", "Nonsense", "00091001"):
        assert name in warning


def test_what_is_about_the_answer_s_form_is_no_key(node: RunningNode) -> None:
    answer = get(node, "/studies?accept=application/dicom%2Bjson&charset=utf-8&limit=1000")
    assert answer.status_code == 200
    assert not warnings(answer)


# Pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances", "/studies/{}/instances"])
def test_pages_fit_together(node: RunningNode, path: str) -> None:
    path = path.format(uid("qido"))
    whole = get(node, path).json()
    paged = []
    while len(paged) < len(whole):
        answer = get(node, f"{path}?limit=5&offset={len(paged)}")
        paged += answer.json()
        left = len(whole) - len(paged)
        assert warnings(answer) == (
            [f'299 Hilum "There are {left} additional results that can be requested"']
            if left
            else []
        )
    assert paged == whole
    assert get(node, f"{path}?offset={len(whole)}").status_code == 204


def test_instances_come_by_number(client: DICOMwebClient) -> None:
    found = client.search_for_instances(uid("qido"), uid("qido", 1))
    assert [value(each, "InstanceNumber") for each in found] == list(range(1, SLICES + 1))


def test_a_client_that_wants_all_gets_all_in_pages_of_the_node_s_size(
    client: DICOMwebClient, node: RunningNode
) -> None:
    everything = client.search_for_instances()
    assert client.search_for_instances(limit=7, get_remaining=True) == everything


def test_nothing_found_is_no_content(node: RunningNode, client: DICOMwebClient) -> None:
    answer = get(node, "/studies?PatientID=nobody")
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    answer = get(node, f"/studies?StudyInstanceUID={uid('qido')}&limit=0")
    assert answer.status_code == 204
    assert warnings(answer) == ['299 Hilum "There are 1 additional results that can be requested"']


# dicomtrolley ---------------------------------------------------------------------------------


def test_a_trolley_finds_studies_series_and_instances(trolley: QidoRS) -> None:
    [study] = trolley.find_studies(
        HierarchicalQuery(PatientID="TEST-qido", include_fields=["StudyDescription"])
    )
    assert study.uid == uid("qido")
    assert study.data.StudyDescription == "Generated"
    [study] = trolley.find_studies(
        HierarchicalQuery(
            StudyInstanceUID=uid("qido"),
            SeriesInstanceUID=uid("qido", 1),
            query_level=QueryLevels.INSTANCE,
        )
    )
    [series] = study.series
    assert {instance.uid for instance in series.instances} == {
        uid("qido", 1, number) for number in range(1, SLICES + 1)
    }
    studies = trolley.find_studies(
        RelationalQuery(query_level=QueryLevels.SERIES, PatientID="TEST-qido")
    )
    assert [each.uid for study in studies for each in study.series] == [uid("qido", 1)]
    assert trolley.find_studies(HierarchicalQuery(PatientID="nobody")) == []


# HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/dicom+json", 200),
        ("application/json", 200),
        ("*/*", 200),
        ("text/html, */*;q=0.1", 200),
        ("application/dicom+xml;q=0.9, application/dicom+json;q=0.1", 200),
        ('multipart/related; type="application/dicom+xml"', 406),
        ("application/dicom+json;q=0, text/html", 406),
        ("text/html", 406),
    ],
)
def test_clients_get_json_or_406(node: RunningNode, accept: str, status: int) -> None:
    answer = get(node, "/studies?limit=1", Accept=accept)
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["Content-Type"] == "application/dicom+json"
        assert "Accept" in answer.headers["Vary"]


def test_the_query_may_say_what_is_accepted(node: RunningNode) -> None:
    assert get(node, "/studies?accept=text/html", Accept="text/html").status_code == 406
    json_asked = "/studies?limit=1&accept=application/dicom%2Bjson"
    assert get(node, json_asked, Accept="text/html").status_code == 200


def test_large_answers_are_compressed_for_those_who_take_it(node: RunningNode) -> None:
    path = f"/studies/{uid('qido')}/instances"
    plain = get(node, path, **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    for accepted in ("gzip", "br;q=1.0, gzip;q=0.8, *;q=0.1", "*"):
        with requests.get(
            f"{node.http_url}/dicom-web{path}",
            headers={"Accept-Encoding": accepted},
            stream=True,
            timeout=30,
        ) as answer:
            packed = answer.raw.read(decode_content=False)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(packed) < len(plain.content) / 5
        assert json.loads(gzip.decompress(packed)) == plain.json()
    assert "Content-Encoding" not in get(node, path, **{"Accept-Encoding": "gzip;q=0"}).headers


def test_head_says_what_get_would(node: RunningNode) -> None:
    url = f"{node.http_url}/dicom-web/studies?limit=1"
    head, whole = requests.head(url, timeout=30), requests.get(url, timeout=30)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("Content-Type", "Content-Length", "Warning"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        (
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example"},
            "https://pacs.example",
        ),
        (
            {"Host": "pacs.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "8443"},
            "https://pacs.example:8443",
        ),
        (
            {"Host": "pacs.example", "X-Forwarded-Prefix": "/pacs/", "X-Forwarded-Port": "80"},
            "http://pacs.example/pacs",
        ),
        (
            {"Forwarded": 'for=10.1.2.3;proto=https;host="pacs.example:444", for=10.0.0.1;host=in'},
            "https://pacs.example:444",
        ),
        ({"Host": "[2001:db8::1]:8042"}, "http://[2001:db8::1]:8042"),
        # Not well formed: passed over.
        ({"Host": "a.example", "X-Forwarded-Host": "b.example/x"}, "http://a.example"),
        ({"Host": "a.example", "X-Forwarded-Proto": "javascript"}, "http://a.example"),
        ({"Host": "a.example", "X-Forwarded-Prefix": "/a b"}, "http://a.example"),
        (
            {"Host": "a.example", "Forwarded": 'host="b.example/<x>";proto=gopher'},
            "http://a.example",
        ),
    ],
)
def test_urls_are_those_of_the_client_s_side(
    node: RunningNode, headers: dict[str, str], base: str
) -> None:
    [found] = get(node, f"/studies?StudyInstanceUID={uid('qido')}", **headers).json()
    assert value(found, "RetrieveURL") == f"{base}/dicom-web/studies/{uid('qido')}"
