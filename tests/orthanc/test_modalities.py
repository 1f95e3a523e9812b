"""Both servers talk to the same third node, and say the same of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hilum.core.identifiers import public_id
from tests.dcmtk import data_set_bytes, dump, storescp
from tests.generated import ct_files, uid
from tests.nodes import wait_until
from tests.orthanc.network import ThreeNodes, three_nodes
from tests.orthanc.side_by_side import Answer, SideBySide, ask, without

#: What two servers, with AE titles and clocks of their own, cannot agree on.
OWN = ("LocalAet", "ID", "Path", "Timestamp", "CreationTime", "CompletionTime", "EffectiveRuntime")
#: Orthanc asks for an element of file meta information, which no data set has (PS3.10 7.1).
NOT_ASKED = ("0002,0003", "MediaStorageSOPInstanceUID")
OWN_JOB = (*OWN, "ErrorDetails", "TargetAet", "EstimatedTimeOfArrival")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    # Two workers: whichever answers, it knows of what the other has done.
    with three_nodes(tmp_path_factory.mktemp("network"), HILUM_WORKERS="2") as running:
        yield running


@pytest.fixture
def servers(nodes: ThreeNodes) -> SideBySide:
    return nodes.servers


def study_id(study: str) -> str:
    return public_id(f"TEST-{study}", uid(study))


def refused(servers: SideBySide, path: str, body: Any = None, method: str = "POST") -> Answer:
    """Assert that both refuse with the same statuses, HTTP's and Orthanc's; return ours."""
    ours, theirs = servers.both(path, method, body)
    assert ours.status == theirs.status, (path, ours.body, theirs.body)
    assert ours.json["HttpStatus"] == ours.status
    if theirs.body.strip():
        assert ours.json["OrthancStatus"] == theirs.json["OrthancStatus"], path
        assert ours.json["Message"] == theirs.json["Message"], path
    return ours


# -- who there is --------------------------------------------------------------------------


def test_modalities_are_listed_and_described(servers: SideBySide) -> None:
    assert servers.same("/modalities") == ["nobody", "store", "third"]
    servers.same("/modalities?expand")
    assert servers.same("/modalities/third/configuration")["AET"] == "THIRD"
    assert servers.same("/peers") == []
    assert servers.same("/peers?expand") == {}


@pytest.mark.parametrize(
    "body",
    [
        ["ADDED", "10.0.0.1", 104],
        ["ADDED", "10.0.0.1", 104, "GenericNoWildcardInDates"],
        {"AET": "ADDED", "Host": "there", "Port": 11112, "AllowEcho": False, "Timeout": 7},
        {"AET": "ADDED", "Host": "there", "Port": 104, "Manufacturer": "GE", "LocalAet": "ME"},
    ],
)
def test_modality_is_added_and_forgotten(servers: SideBySide, body: Any) -> None:
    servers.same("/modalities/added", "PUT", body)
    described = servers.same("/modalities/added/configuration")
    assert described["AET"] == "ADDED"
    servers.same("/modalities/added", "DELETE")
    refused(servers, "/modalities/added/configuration", method="GET")
    refused(servers, "/modalities/added", method="DELETE")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("bad", "no JSON"),
        ("bad", ["A", "b"]),
        ("bad", ["A", "b", -1]),
        ("bad", ["A", "b", 99999]),
        ("bad", ["A", "b", 104, "Nonsense"]),
        ("bad", {"AET": "A", "Host": "b"}),
        ("ba%20d", ["A", "b", 104]),
    ],
)
def test_what_describes_no_modality_is_refused(servers: SideBySide, name: str, body: Any) -> None:
    refused(servers, f"/modalities/{name}", body, "PUT")
    assert "bad" not in servers.same("/modalities")


def test_modality_is_kept_over_a_restart_and_is_a_destination_of_c_move(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """A client adds it; the next process of the node sends to it when a third asks for that."""
    from tests.dcmtk import run, storescu
    from tests.nodes import RunningNode, free_port

    port = free_port()
    node = RunningNode(tmp_path / "node").start()
    try:
        ask(node.http_url, "/modalities/later", "PUT", ["LATER", "127.0.0.1", port])
        storescu(node.peer, *ct_files(tmp_path / "out", 2, study="moved"))
        assert node.stop() == 0
        node.start()
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('moved')}")
        with storescp(tmp_path / "in", "LATER", port=port):
            moved = run("movescu", "-S", "-aem", "LATER", *keys, *node.peer)
        assert moved.status == 0, moved.output
        assert len(list((tmp_path / "in").iterdir())) == 2
    finally:
        node.stop()


# -- C-ECHO and C-STORE --------------------------------------------------------------------


def test_echo(servers: SideBySide) -> None:
    for body in (None, {}, {"Timeout": 5}):
        servers.same("/modalities/third/echo", "POST", body or "")
    for known in (["STORE", "127.0.0.1", 1], {}, "no JSON"):
        refused(servers, "/tools/dicom-echo", known)
    third = ask(servers.hilum.http_url, "/modalities/third/configuration").json
    for known in (third, [third["AET"], third["Host"], third["Port"]]):
        servers.same("/tools/dicom-echo", "POST", known)
    refused(servers, "/modalities/unknown/echo", {})
    refused(servers, "/modalities/nobody/echo", {})


@pytest.mark.parametrize("as_list", [False, True])
def test_store_sends_a_study(
    servers: SideBySide, nodes: ThreeNodes, tmp_path: Path, as_list: bool
) -> None:
    resource = study_id("X")
    arrived = []
    for number, url in enumerate(nodes.urls()):
        with storescp(tmp_path / str(number), "STORE", port=nodes.store_port):
            sent = ask(url, "/modalities/store/store", "POST", [resource] if as_list else resource)
            assert sent.status == 200
            arrived.append(without(sent.json, OWN))
        received = sorted(data_set_bytes(path) for path in (tmp_path / str(number)).iterdir())
        sources = ct_files(tmp_path / "out", 3, study="X")
        assert received == sorted(map(data_set_bytes, sources))
    assert arrived[0] == arrived[1]
    assert arrived[0]["ParentResources"] == [resource]


def test_store_of_several_levels_as_somebody_else(nodes: ThreeNodes, tmp_path: Path) -> None:
    series = public_id("TEST-Y", uid("Y"), uid("Y", 1))
    instance = public_id("TEST-X", uid("X"), uid("X", 1), uid("X", 1, 2))
    body = {
        "Resources": [series, instance],
        "Synchronous": True,
        "LocalAet": "ME",
        "MoveOriginatorAet": "ORIGINATOR",
        "MoveOriginatorID": 4,
    }
    answers = []
    for number, url in enumerate(nodes.urls()):
        folder = tmp_path / str(number)
        with storescp(folder, "STORE", port=nodes.store_port):
            answers.append(ask(url, "/modalities/store/store", "POST", body))
        received = [dump(path, "SOPInstanceUID")["SOPInstanceUID"] for path in folder.iterdir()]
        assert sorted(received) == sorted([uid("Y", 1, 1), uid("Y", 1, 2), uid("X", 1, 2)])
    ours, theirs = (answer.json for answer in answers)
    assert ours == theirs
    assert ours["LocalAet"] == "ME"


def test_store_that_cannot_be(servers: SideBySide) -> None:
    resource = study_id("X")
    refused(servers, "/modalities/unknown/store", resource)
    refused(servers, "/modalities/nobody/store", resource)
    for body in ("nonsense", "", {}, {"Resources": ["x"]}):
        refused(servers, "/modalities/third/store", body)
    refused(servers, "/modalities/third/store", "0" * 8 + "-00000000" * 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"LocalAet": "SEVENTEEN LETTERS"},
        {"LocalAet": "T\tAB"},
        {"LocalAet": 7},
        {"Timeout": -1},
        {"Timeout": "soon"},
        {"MoveOriginatorAet": "A", "MoveOriginatorID": 65536},
        {"Priority": "high"},
        {"Synchronous": "yes"},
    ],
)
def test_store_with_what_cannot_be_said_is_refused(servers: SideBySide, wrong: Any) -> None:
    """Orthanc finds some of it out when it is too late, and takes some of it for something."""
    body = {"Resources": [study_id("X")], **wrong}
    sent = ask(servers.hilum.http_url, "/modalities/third/store", "POST", body)
    assert (sent.status, sent.json["OrthancStatus"] in {3, 15}) == (400, True)


def test_store_straight_stores_nothing_here(
    servers: SideBySide, nodes: ThreeNodes, tmp_path: Path
) -> None:
    (path,) = ct_files(tmp_path / "out", 1, study="straight")
    for number, url in enumerate(nodes.urls()):
        folder = tmp_path / str(number)
        with storescp(folder, "STORE", port=nodes.store_port):
            sent = ask(url, "/modalities/store/store-straight", "POST", path.read_bytes())
        assert sent.json["SOPInstanceUID"] == uid("straight", 1, 1)
        (arrived,) = folder.iterdir()
        assert data_set_bytes(arrived) == data_set_bytes(path)
        assert ask(url, f"/studies/{study_id('straight')}").status == 404
    refused(servers, "/modalities/third/store-straight", b"no DICOM")


# -- C-FIND and C-MOVE ---------------------------------------------------------------------


def asked(servers: SideBySide, body: Any, modality: str = "third") -> tuple[str, str]:
    """Put a query; return the paths under which both have kept it."""
    ours, theirs = servers.both(f"/modalities/{modality}/query", "POST", body)
    assert (ours.status, theirs.status) == (200, 200), (ours.body, theirs.body)
    assert ours.json.keys() == theirs.json.keys()
    return ours.json["Path"], theirs.json["Path"]


def alike(servers: SideBySide, paths: tuple[str, str], rest: str = "") -> Any:
    ours = ask(servers.hilum.http_url, paths[0] + rest)
    theirs = ask(servers.orthanc.http_url, paths[1] + rest)
    assert (ours.status, ours.media_type) == (theirs.status, theirs.media_type), rest
    if ours.media_type == "application/json":
        assert without(ours.json, NOT_ASKED) == without(theirs.json, NOT_ASKED), rest
        return ours.json
    assert ours.body == theirs.body, rest
    return ours.body.decode()


STUDIES = {"Level": "Study", "Query": {"PatientID": "TEST-S*", "StudyDescription": ""}}


@pytest.mark.parametrize(
    "body",
    [
        STUDIES,
        {"Level": "Patient", "Query": {"PatientName": "Test^*"}},
        {"Level": "Studies", "Query": {"PatientID": "TEST-S1"}},
        {"Level": "study", "Query": {"0010,0010": "test^Ü", "00080060": ""}},
        {"Level": "Series", "Query": {"StudyInstanceUID": uid("S1"), "Modality": ""}},
        {
            "Level": "Instance",
            "Query": {
                "StudyInstanceUID": uid("S1"),
                "SeriesInstanceUID": uid("S1", 1),
                "InstanceNumber": "",
                "Rows": "",
            },
            "Normalize": False,
        },
        {"Level": "Study", "Query": {"PatientID": "NOBODY"}},
        {"Level": "Study", "Query": {"StudyDate": "20260101-20260103", "PatientName": ""}},
    ],
)
def test_query_and_its_answers(servers: SideBySide, body: Any) -> None:
    paths = asked(servers, body)
    numbers = alike(servers, paths, "/answers")
    for rest in ("", "/level", "/modality", "/query", "/query?simplify", "/query?short"):
        alike(servers, paths, rest)
    for style in ("", "&simplify", "&short"):
        alike(servers, paths, f"/answers?expand{style}")
    for number in numbers:
        if body["Level"] != "Patient":  # Orthanc lists a route there that it does not have
            alike(servers, paths, f"/answers/{number}")
        alike(servers, paths, f"/answers/{number}/content?simplify")


def test_query_finds_what_is_there(servers: SideBySide) -> None:
    paths = asked(servers, STUDIES)
    found = alike(servers, paths, "/answers?expand&simplify")
    assert {each["PatientID"] for each in found} == {"TEST-S1", "TEST-S2"}
    assert paths[0].removeprefix("/queries/") in ask(servers.hilum.http_url, "/queries").json
    assert ask(servers.hilum.http_url, paths[0], "DELETE").status == 200
    assert ask(servers.hilum.http_url, paths[0]).status == 404


def test_answers_there_are_not(servers: SideBySide) -> None:
    paths = asked(servers, STUDIES)
    for rest in ("/answers/7/content", "/answers/x", "/answers/x/content", "/nothing"):
        ours = ask(servers.hilum.http_url, paths[0] + rest)
        theirs = ask(servers.orthanc.http_url, paths[1] + rest)
        assert ours.status == theirs.status
        assert ours.json["OrthancStatus"] == theirs.json["OrthancStatus"], rest
    refused(servers, "/queries/none/answers", method="GET")


def test_query_below_an_answer(servers: SideBySide) -> None:
    study = asked(servers, {"Level": "Study", "Query": {"PatientID": "TEST-S1"}})
    patient = asked(servers, {"Level": "Patient", "Query": {"PatientID": "TEST-S1"}})
    for above, name, level in (
        (study, "query-series", "Series"),
        (study, "query-instances", "Instance"),
        (patient, "query-studies", "Study"),
    ):
        body = {"Query": {"Modality": ""}}
        ours = ask(servers.hilum.http_url, f"{above[0]}/answers/0/{name}", "POST", body)
        theirs = ask(servers.orthanc.http_url, f"{above[1]}/answers/0/{name}", "POST", body)
        below = (ours.json["Path"], theirs.json["Path"])
        assert alike(servers, below, "/level") == level
        alike(servers, below, "/query")
        alike(servers, below, "/answers?expand")


def test_query_that_cannot_be(servers: SideBySide) -> None:
    for body in (
        "no JSON",
        {"Query": {}},
        {"Level": "Foo", "Query": {}},
        {"Level": "Study", "Query": {"NoSuchTag": "x"}},
        {"Level": "Study", "Query": {"StudyDate": 20200101}},
        {"Level": "Study", "Query": ["x"]},
    ):
        refused(servers, "/modalities/third/query", body)
    number = {"Level": "Instance", "Query": {"Rows": "70000"}, "Normalize": False}
    query = ask(servers.hilum.http_url, "/modalities/third/query", "POST", number)
    assert query.status == 400
    refused(servers, "/modalities/unknown/query", STUDIES)
    refused(servers, "/modalities/nobody/query", STUDIES)
    # A wildcard in a date: the peer answers with a failure.
    refused(servers, "/modalities/third/find-study", {"PatientID": "TEST-*", "StudyDate": "2026*"})


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("find", {"PatientID": "TEST-S*"}),
        ("find-patient", {"PatientID": "TEST-*"}),
        ("find-study", {"PatientID": "TEST-*", "StudyDate": "20260101-"}),
        ("find-series", {"PatientID": "TEST-S1", "StudyInstanceUID": uid("S1")}),
        (
            "find-instance",
            {
                "PatientID": "TEST-S1",
                "StudyInstanceUID": uid("S1"),
                "SeriesInstanceUID": uid("S1", 1),
            },
        ),
    ],
)
def test_find_with_the_answers_at_once(servers: SideBySide, route: str, body: Any) -> None:
    found = servers.same(f"/modalities/third/{route}", "POST", body, differs=NOT_ASKED)
    assert found


def test_find_of_everything_below_is_refused(servers: SideBySide) -> None:
    refused(servers, "/modalities/third/find-series", {"PatientID": "TEST-S1"})
    refused(servers, "/modalities/third/find-instance", {"StudyInstanceUID": uid("S1")})


def test_retrieve_brings_the_study_here(servers: SideBySide) -> None:
    paths = asked(servers, {"Level": "Study", "Query": {"PatientID": "TEST-S1"}})
    for style in ({}, {"Simplify": True}, {"Full": True}):
        told = []
        for path, node in zip(paths, (servers.hilum, servers.orthanc), strict=True):
            body = {"TargetAet": node.aet, "Synchronous": True, **style}
            brought = ask(node.http_url, f"{path}/retrieve", "POST", body)
            assert brought.status == 200, brought.body
            told.append(without(brought.json, OWN_JOB))
        assert told[0] == told[1]
    servers_have = study_id("S1")
    for url in (servers.hilum.http_url, servers.orthanc.http_url):
        sent = ask(url, "/modalities/third/store", "POST", servers_have)
        assert sent.json["InstancesCount"] == 3


def test_retrieve_of_one_answer_to_oneself_by_default(servers: SideBySide) -> None:
    paths = asked(servers, {"Level": "Study", "Query": {"PatientID": "TEST-S2"}})
    for path, node in zip(paths, (servers.hilum, servers.orthanc), strict=True):
        for body in ("", node.aet):
            brought = ask(node.http_url, f"{path}/answers/0/retrieve", "POST", body)
            assert brought.status == 200, brought.body
        sent = ask(node.http_url, "/modalities/third/store", "POST", study_id("S2"))
        assert sent.json["InstancesCount"] == 1


def test_retrieve_to_somebody_the_peer_does_not_know(servers: SideBySide) -> None:
    paths = asked(servers, STUDIES)
    for path, node in zip(paths, (servers.hilum, servers.orthanc), strict=True):
        failed = ask(node.http_url, f"{path}/retrieve", "POST", "NOWHERE")
        assert failed.status == 500
        assert failed.json["OrthancStatus"] == 9


def test_move_brings_what_it_names(servers: SideBySide, nodes: ThreeNodes, tmp_path: Path) -> None:
    resources = [{"StudyInstanceUID": uid("S1")}, {"StudyInstanceUID": uid("S2")}]
    body = {"Level": "Study", "Resources": resources, "TargetAet": "STORE"}
    for number, url in enumerate(nodes.urls()):
        folder = tmp_path / str(number)
        with storescp(folder, "STORE", port=nodes.store_port):
            assert ask(url, "/modalities/third/move", "POST", body).status == 200
        assert len(list(folder.iterdir())) == 4
    for wrong in ({"Resources": [{}]}, {"Level": "Study", "Resources": ["x"]}, "no JSON"):
        refused(servers, "/modalities/third/move", wrong)


def test_get_brings_it_over_the_same_association(nodes: ThreeNodes) -> None:
    """Orthanc has it since 1.12.7; the third node, an older one, is asked by it."""
    url = nodes.servers.hilum.http_url
    ask(url, f"/studies/{study_id('S2')}", "DELETE")
    body = {"Level": "Study", "Resources": [{"StudyInstanceUID": uid("S2")}]}
    brought = ask(url, "/modalities/third/get", "POST", body)
    assert brought.status == 200, brought.body
    assert brought.json["RemoteAet"] == "THIRD"
    sent = ask(url, "/modalities/third/store", "POST", study_id("S2"))
    assert sent.json["InstancesCount"] == 1
    query = ask(url, "/modalities/third/query", "POST", STUDIES).json["Path"]
    body = {"RetrieveMethod": "C-GET", "Asynchronous": True}
    job = ask(url, f"{query}/retrieve", "POST", body).json["Path"]
    wait_until(lambda: job_of(url, job)["State"] == "Success")
    assert job_of(url, job)["Type"] == "DicomGetScu"


# -- jobs and exports ----------------------------------------------------------------------


def slow_store(stack: ExitStack, nodes: ThreeNodes, folder: Path) -> None:
    """Have ``store`` take its time: a second for each instance."""
    arguments = ("--sleep-during", "1")
    stack.enter_context(storescp(folder, "STORE", *arguments, port=nodes.store_port))


def job_of(url: str, path: str) -> Any:
    return ask(url, path).json


def test_job_is_told_while_it_runs_and_afterwards(nodes: ThreeNodes, tmp_path: Path) -> None:
    body = {"Resources": [study_id("X")], "Asynchronous": True, "Priority": 5}
    ended = []
    for number, url in enumerate(nodes.urls()):
        with storescp(tmp_path / str(number), "STORE", port=nodes.store_port):
            path = ask(url, "/modalities/store/store", "POST", body).json["Path"]
            wait_until(lambda url=url, path=path: job_of(url, path)["State"] == "Success")
        job = job_of(url, path)
        assert job["ID"] in job_of(url, "/jobs")
        assert job["ID"] in [each["ID"] for each in job_of(url, "/jobs?expand")]
        ended.append(job)
    assert ended[0].keys() == ended[1].keys()
    assert without(ended[0], OWN) == without(ended[1], OWN)


def test_failed_job_says_why_and_is_tried_again(nodes: ThreeNodes, tmp_path: Path) -> None:
    body = {"Resources": [study_id("X")], "Asynchronous": True}
    ended = []
    for number, url in enumerate(nodes.urls()):
        path = ask(url, "/modalities/store/store", "POST", body).json["Path"]
        wait_until(lambda url=url, path=path: job_of(url, path)["State"] == "Failure")
        failed = job_of(url, path)
        assert failed["ErrorDetails"]
        with storescp(tmp_path / str(number), "STORE", port=nodes.store_port):
            assert ask(url, f"{path}/resubmit", "POST", "").status == 200
            wait_until(lambda url=url, path=path: job_of(url, path)["State"] == "Success")
        assert len(list((tmp_path / str(number)).iterdir())) == 3
        ended.append(without(failed, OWN_JOB))
    assert ended[0] == ended[1]


def test_job_is_paused_resumed_and_cancelled(nodes: ThreeNodes, tmp_path: Path) -> None:
    body = {"Resources": [study_id("X"), study_id("Y")], "Asynchronous": True}
    cancelled = []
    for number, url in enumerate(nodes.urls()):
        with ExitStack() as stack:
            slow_store(stack, nodes, tmp_path / str(number))
            path = ask(url, "/modalities/store/store", "POST", body).json["Path"]
            wait_until(lambda url=url, path=path: job_of(url, path)["Progress"] > 0)
            assert ask(url, f"{path}/pause", "POST", "").json == {}
            wait_until(lambda url=url, path=path: job_of(url, path)["State"] == "Paused")
            paused = job_of(url, path)
            assert 0 < paused["Progress"] < 100
            assert ask(url, f"{path}/resubmit", "POST", "").status == 400
            assert ask(url, f"{path}/resume", "POST", "").json == {}
            assert ask(url, f"{path}/cancel", "POST", "").json == {}
            wait_until(lambda url=url, path=path: job_of(url, path)["State"] == "Failure")
            job = job_of(url, path)
            cancelled.append((job["ErrorCode"], job["ErrorDescription"], job["State"]))
            assert ask(url, f"{path}/resume", "POST", "").status == 400
        assert 0 < len(list((tmp_path / str(number)).iterdir())) < 5
    assert cancelled[0] == cancelled[1]


def test_job_that_is_over_is_forgotten(nodes: ThreeNodes, tmp_path: Path) -> None:
    """Of Orthanc 1.12.9: Debian's knows no such request."""
    url = nodes.servers.hilum.http_url
    body = {"Resources": [study_id("X")], "Asynchronous": True}
    with ExitStack() as stack:
        slow_store(stack, nodes, tmp_path / "slow")
        path = ask(url, "/modalities/store/store", "POST", body).json["Path"]
        wait_until(lambda: job_of(url, path)["State"] == "Running")
        assert ask(url, path, "DELETE").status == 404
        assert ask(url, f"{path}/cancel", "POST", "").status == 200
        wait_until(lambda: job_of(url, path)["State"] == "Failure")
    assert ask(url, path, "DELETE").status == 200
    for method in ("GET", "DELETE"):
        assert ask(url, path, method).status == 404


def test_jobs_there_are_not(servers: SideBySide) -> None:
    refused(servers, "/jobs/none", method="GET")
    for change in ("cancel", "pause", "resume", "resubmit"):
        refused(servers, f"/jobs/none/{change}", "")


def test_permissive_store_counts_what_was_not_sent(servers: SideBySide) -> None:
    body = {"Resources": [study_id("X")], "Permissive": True}
    sent = ask(servers.hilum.http_url, "/modalities/nobody/store", "POST", body)
    assert (sent.status, sent.json["FailedInstancesCount"]) == (200, 3)


def test_exports_say_what_was_sent_to_whom(nodes: ThreeNodes) -> None:
    servers = nodes.servers
    servers.same("/exports", "DELETE")
    instance = public_id("TEST-X", uid("X"), uid("X", 1), uid("X", 1, 2))
    for resource in (study_id("X"), public_id("TEST-X", uid("X"), uid("X", 1)), instance):
        servers.both("/modalities/third/store", "POST", resource)
    servers.both("/modalities/third/store", "POST", public_id("TEST-X"))
    logs = [ask(url, "/exports").json for url in nodes.urls()]
    without_numbers = [without(log, ("Date", "Seq", "Last")) for log in logs]
    assert without_numbers[0] == without_numbers[1]
    assert len(logs[0]["Exports"]) == 4
    for log, url in zip(logs, nodes.urls(), strict=True):
        first = log["Exports"][0]["Seq"]
        page = ask(url, f"/exports?since={first}&limit=2").json
        assert [each["Seq"] for each in page["Exports"]] == [first + 1, first + 2]
        assert (page["Done"], page["Last"]) == (False, first + 2)
        assert ask(url, "/exports?last").json["Exports"] == log["Exports"][-1:]
    servers.same("/exports", "DELETE")
    assert servers.same("/exports", differs=("Last",))["Exports"] == []
