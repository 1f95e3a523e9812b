"""What is noted of resources and attached to them, and how they are deleted."""

from tests.orthanc.side_by_side import SideBySide, ask

#: What Orthanc notes and Hilum does not: how a request came, but for the AE title.
NOT_NOTED = ("RemoteIP", "HttpUsername", "CalledAET", "HttpHost")


def test_metadata(stored: SideBySide) -> None:
    for level in ("patients", "studies", "series", "instances"):
        for key in stored.ids(level)[::6]:
            path = f"/{level}/{key}/metadata"
            told = stored.same(f"{path}?expand", differs=NOT_NOTED)
            names = ask(stored.hilum.http_url, path).json
            assert told.items() <= ask(stored.hilum.http_url, f"{path}?expand").json.items()
            for name in names:
                ours, theirs = stored.both(f"{path}/{name}")
                assert (ours.status, ours.media_type) == (200, theirs.media_type)
                if name not in {"LastUpdate", "ReceptionDate"}:
                    assert (ours.body, ours.headers["etag"]) == (
                        theirs.body,
                        theirs.headers["etag"],
                    )


def test_clients_note_under_numbers_of_their_own(stored: SideBySide) -> None:
    for level in ("patients", "studies", "series", "instances"):
        path = f"/{level}/{stored.ids(level)[0]}/metadata"
        stored.same(f"{path}/1024", "PUT", b"hello")
        stored.same(f"{path}/1024")
        ours, theirs = stored.both(f"{path}/1024", "PUT", "geändert".encode())
        assert (ours.status, ours.headers["etag"]) == (theirs.status, theirs.headers["etag"])
        stored.same(f"{path}?expand", differs=NOT_NOTED)
        stored.same(f"{path}/1024", "DELETE")
        assert stored.refused(f"{path}/1024", "DELETE") == 404
        assert stored.refused(f"{path}/1024") == 404


def test_metadata_with_a_name_has_a_number_too(stored: SideBySide) -> None:
    path = f"/studies/{stored.ids('studies')[2]}/metadata"
    for name, other in (("CaseId", "1030"), ("1030", "CaseId")):
        stored.same(f"{path}/{name}", "PUT", b"X-42")
        assert stored.same(f"{path}/{other}") == b"X-42"
        assert stored.same(f"{path}?expand", differs=NOT_NOTED)["CaseId"] == "X-42"
        assert "CaseId" in stored.same(path)
        body = {"Resources": [path.split("/")[2]], "Metadata": True}
        stored.same("/tools/bulk-content", "POST", body, differs=(*NOT_NOTED, "Labels"))
        # Of Orthanc 1.12.
        assert ask(stored.hilum.http_url, f"{path}?numeric").json[-1] == 1030
        stored.same(f"{path}/{other}", "DELETE")
    assert ask(stored.hilum.http_url, "/system").json["UserMetadata"] == {"CaseId": 1030}
    assert stored.refused(f"{path}/CaseID", "PUT", b"x") == 404


def test_what_clients_may_not_note(stored: SideBySide) -> None:
    path = f"/instances/{stored.ids('instances')[0]}/metadata"
    for name, status in (("Origin", 403), ("9", 403), ("65536", 403), ("foo", 404)):
        assert stored.refused(f"{path}/{name}", "PUT", b"x") == status
        assert stored.refused(f"{path}/{name}", "DELETE") == status
    assert stored.refused("/studies/x/metadata") == 404


def test_a_revision_that_is_not_there_any_more_is_not_replaced(stored: SideBySide) -> None:
    path = f"/studies/{stored.ids('studies')[1]}/metadata/1025"
    first = ask(stored.hilum.http_url, path, "PUT", b"a").headers["etag"]
    second = ask(stored.hilum.http_url, path, "PUT", b"b", if_match=first).headers["etag"]
    assert ask(stored.hilum.http_url, path, "PUT", b"c", if_match=first).status == 409
    assert ask(stored.hilum.http_url, path, if_none_match=second).status == 304
    assert ask(stored.hilum.http_url, path).body == b"b"


def test_attachments(stored: SideBySide) -> None:
    stored.same(f"/series/{stored.ids('series')[0]}/attachments")
    for key in stored.ids("instances")[::20]:
        path = f"/instances/{key}/attachments"
        stored.same(path)
        for name in ("dicom", "1"):
            for operation in (
                *("size", "md5", "is-compressed", "info", "data"),
                *("compressed-size", "compressed-md5", "compressed-data"),
            ):
                stored.same(f"{path}/{name}/{operation}")
        stored.same(f"{path}/dicom/verify-md5", "POST", b"")
        assert stored.refused(f"{path}/dicom/nope") == 404
        assert stored.refused(f"{path}/nope") == 404


def test_protected_patients(stored: SideBySide) -> None:
    path = f"/patients/{stored.ids('patients')[0]}/protected"
    stored.same(path)
    for body in (b"1", b"0", b"true", b"false"):
        stored.same(path, "PUT", body)
        stored.same(path)
    assert stored.refused(path, "PUT", b"x") == 400
    assert ask(stored.hilum.http_url, "/patients/x/protected").status == 404


def test_labels(stored: SideBySide) -> None:
    """Of Orthanc 1.12: there is none to compare with."""
    url = stored.hilum.http_url
    keys = stored.ids("studies")[:3]
    for key, label in ((keys[0], "b"), (keys[0], "a"), (keys[1], "a")):
        assert ask(url, f"/studies/{key}/labels/{label}", "PUT", b"").status == 200
    assert ask(url, f"/studies/{keys[0]}/labels").json == ["a", "b"]
    assert ask(url, f"/studies/{keys[0]}").json["Labels"] == ["a", "b"]
    assert ask(url, "/tools/labels").json == ["a", "b"]
    assert ask(url, f"/studies/{keys[1]}/labels/b").status == 404
    assert ask(url, f"/studies/{keys[1]}/labels/a").body == b""
    assert ask(url, f"/studies/{keys[1]}/labels/a%20b", "PUT", b"").status == 400

    def found(constraint: str, *labels: str) -> set[str]:
        body = {
            "Level": "Study",
            "Query": {},
            "Labels": list(labels),
            "LabelsConstraint": constraint,
        }
        count = ask(url, "/tools/count-resources", "POST", body).json["Count"]
        ids = ask(url, "/tools/find", "POST", body).json
        assert len(ids) == len(set(ids)) == count
        return set(ids)

    everything = set(stored.ids("studies"))
    assert found("All", "a", "b") == {keys[0]}
    assert found("Any", "a", "b") == set(keys[:2])
    assert found("None", "b") == everything - {keys[0]}
    assert found("None") == everything - set(keys[:2])
    assert ask(url, f"/studies/{keys[0]}/labels/a", "DELETE").status == 200
    assert ask(url, f"/studies/{keys[0]}/labels").json == ["b"]


def test_deletion_tells_what_is_left_above(stored: SideBySide) -> None:
    """Last: it takes things away."""
    url = stored.orthanc.http_url
    [two] = ask(url, "/tools/lookup", "POST", "TEST-two").json
    study = next(
        each for each in ask(url, f"/patients/{two['ID']}/studies").json if len(each["Series"]) == 2
    )
    one, other = study["Series"]
    instances = ask(url, f"/series/{one}").json["Instances"]
    for path in (
        *(f"/instances/{key}" for key in instances),
        f"/series/{other}",
        f"/patients/{two['ID']}",
    ):
        stored.same(path, "DELETE")
        assert stored.refused(path) == 404
        assert stored.refused(path, "DELETE") == 404
    stored.same("/statistics", differs=("TotalDiskSize", "TotalUncompressedSize"))
    rest = stored.ids("studies")[:2]
    stored.same("/tools/bulk-delete", "POST", {"Resources": [*rest, "nothing"]})
    assert stored.refused("/tools/bulk-delete", "POST", {}) == 400
    for level in ("patients", "studies", "series", "instances"):
        stored.same(f"/{level}", key=sorted)
