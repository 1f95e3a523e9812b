"""What the node says of itself, beside what Orthanc says."""

from tests.orthanc.side_by_side import SideBySide, ask


def test_system_has_what_orthanc_has(servers: SideBySide) -> None:
    ours, theirs = servers.both("/system")
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert theirs.json.keys() <= ours.json.keys()
    assert ours.json["DicomAet"] == servers.hilum.aet
    assert ours.json["DicomPort"] == servers.hilum.dicom_port
    assert ours.json["HttpPort"] == servers.hilum.http_port
    # As Orthanc 1.11 says it, and clients read it.
    assert ours.json["MainDicomTags"]["Patient"].split(";")[:2] == ["0010,0010", "0010,0020"]
    assert ours.json["Capabilities"]["HasExtendedChanges"] is False


def test_statistics_of_an_empty_server(servers: SideBySide) -> None:
    servers.same("/statistics")


def test_json_is_printed_as_orthanc_prints_it(servers: SideBySide) -> None:
    ours, theirs = servers.both("/statistics")
    assert ours.body == theirs.body


def test_an_unknown_path_gets_orthancs_error(servers: SideBySide) -> None:
    assert servers.refused("/nothing/here") == 404
    assert ask(servers.hilum.http_url, "/nothing/here").json["OrthancStatus"] == 17


def test_a_wrong_method_is_told_the_right_ones(servers: SideBySide) -> None:
    ours, theirs = servers.both("/system", "PUT", b"")
    assert (ours.status, ours.body) == (theirs.status, theirs.body) == (405, b"")
    assert "GET" in ours.headers["allow"]


def test_errors_of_the_nodes_own_routes_keep_their_form(servers: SideBySide) -> None:
    answer = ask(servers.hilum.http_url, "/api/nothing")
    assert answer.json == {"success": False, "error": {"code": "not-found", "message": "Not Found"}}
