"""Moving from a real Orthanc: `hilum migrate` and `hilum compare`, as they are called."""

import contextlib
import io
import json
import os
import secrets
import subprocess
import sys
import threading
import unittest.mock
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import pytest

from hilum.cli import main
from hilum.imaging.header import read_header
from tests.corpus import pydicom_files, real_files
from tests.flaky_server import flaky
from tests.generated import ct, uid
from tests.integration.test_ingest import PATH_AS_UID, part10
from tests.nodes import running, wait_until
from tests.orthanc.judged import instance_id, patient_id, series_id, study_id
from tests.orthancs import RunningOrthanc, running_orthanc

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@dataclass
class Here:
    """A data folder with a database of its own in the session's MongoDB."""

    folder: Path
    environment: dict[str, str]

    def hilum(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in this process, which spares it a second of imports."""
        out, err = io.StringIO(), io.StringIO()
        with (
            unittest.mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as leaving,
        ):
            main(arguments)
        code = int(leaving.value.code or 0)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "hilum", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def objects(self) -> list[Path]:
        return [path for path in self.folder.glob("objects/??/??/*") if path.is_file()]


@pytest.fixture
def make_here(tmp_path: Path, mongodb_uri: str) -> Callable[..., Here]:
    def make(**settings: str) -> Here:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HILUM_", "ORTHANC_"))}
        name = secrets.token_hex(6)
        folder = tmp_path / name
        environment = clean | {
            "HILUM_DATA_DIR": str(folder),
            "HILUM_MONGODB_URI": mongodb_uri,
            "HILUM_MONGODB_DATABASE": f"test_{name}",
            **settings,
        }
        return Here(folder, environment)

    return make


@pytest.fixture
def here(make_here: Callable[..., Here]) -> Here:
    return make_here()


def post(orthanc: RunningOrthanc, content: bytes) -> str | None:
    """Store a file in an Orthanc; return its id, None if it is refused."""
    request = urllib.request.Request(f"{orthanc.http_url}/instances", content, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["ID"])
    except urllib.error.HTTPError:
        return None


def ask(orthanc: RunningOrthanc, path: str) -> Any:
    with urllib.request.urlopen(orthanc.http_url + path, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrthanc]:
    """An Orthanc with pydicom's files, a fifth of the real ones, and 200 slices."""
    with running_orthanc(tmp_path_factory.mktemp("full")) as orthanc:
        for path in (*pydicom_files(), *real_files()[::5]):
            post(orthanc, path.read_bytes())
        for number in range(200):
            assert post(orthanc, part10(ct(number, study="slices", size=32)))
        yield orthanc


@pytest.fixture(scope="module")
def reused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrthanc]:
    """An Orthanc for the tests of the module, one after the other: it takes seconds to stop."""
    folder = tmp_path_factory.mktemp("reused")
    with running_orthanc(folder, UserMetadata={"CaseId": 1024}) as orthanc:
        yield orthanc


@pytest.fixture
def small(reused: RunningOrthanc) -> RunningOrthanc:
    """An Orthanc with three slices and nothing else."""
    for patient in ask(reused, "/patients"):
        delete(reused, f"/patients/{patient}")
    for number in range(3):
        post(reused, part10(ct(number, size=32)))
    return reused


def delete(orthanc: RunningOrthanc, path: str) -> None:
    request = urllib.request.Request(orthanc.http_url + path, method="DELETE")
    urllib.request.urlopen(request, timeout=30).close()


def put(url: str, content: bytes) -> None:
    request = urllib.request.Request(url, content, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


#: More than GridFS keeps in one piece.
REPORT = bytes(range(256)) * 1500
#: What people have noted of the slices of `small`, at all levels; of text, and what is none.
NOTES = {
    f"/patients/{patient_id(1)}/metadata/CaseId": b"P-1",
    f"/studies/{study_id(1)}/metadata/CaseId": b"S-1",
    f"/studies/{study_id(1)}/metadata/1030": b"\xff\xfe",
    f"/studies/{study_id(1)}/attachments/1099": REPORT,
    f"/series/{series_id(1)}/metadata/1030": "Größe".encode(),
    f"/instances/{instance_id(1, 2)}/metadata/65535": b"last",
    f"/instances/{instance_id(1, 2)}/attachments/1024": b"",
    f"/patients/{patient_id(1)}/protected": b"1",
    # What a plugin of Orthanc keeps to be faster is nobody's.
    f"/series/{series_id(1)}/attachments/4301": b"cache",
}
CACHES = 1


@pytest.fixture
def noted(small: RunningOrthanc) -> RunningOrthanc:
    """`small`, with notes of people."""
    for path, value in NOTES.items():
        put(small.http_url + path, value)
    return small


def told(url: str, path: str) -> bytes:
    """What a server says that is noted under a path of `NOTES`."""
    return get(url + path + ("/data" if "attachments" in path else ""))


NAMED = {"HILUM_HTTP_USER_METADATA": '{"CaseId": 1024}'}


def test_what_people_have_noted_moves_and_is_compared(
    noted: RunningOrthanc, make_here: Callable[..., Here]
) -> None:
    here = make_here(**NAMED)
    done = here.hilum("migrate", "orthanc", noted.http_url)
    assert done.returncode == 0, done.stdout
    assert f"{len(NOTES) - CACHES} notes" in done.stdout
    assert "notes" not in here.hilum("migrate", "orthanc", noted.http_url).stdout
    compared = here.hilum("compare", "orthanc", noted.http_url)
    assert (compared.returncode, compared.stdout) == (0, "")
    # What has changed since, in Orthanc's log alone.
    changed = f"/studies/{study_id(1)}/metadata/CaseId"
    put(noted.http_url + changed, b"S-2")
    put(f"{noted.http_url}/series/{series_id(1)}/attachments/1100", b"new")
    delete(noted, f"/instances/{instance_id(1, 2)}/metadata/65535")
    found = json.loads(here.hilum("compare", "orthanc", noted.http_url, "--json").stdout)
    assert found["notes"] == [
        {
            "resource": f"/instances/{instance_id(1, 2)}",
            "reason": "metadata 65535 is here only",
        },
        {"resource": f"/series/{series_id(1)}", "reason": "attachment 1100 is there only"},
        {"resource": f"/studies/{study_id(1)}", "reason": "metadata 1024 is not the same"},
    ]
    assert not found["equal"]
    since = done.stdout.split("--since ")[1].split()[0]
    with flaky(noted.http_url) as server:
        again = here.hilum("migrate", "orthanc", server.url, "--since", since)
        assert "2 notes" in again.stdout
        assert not [path for path in server.asked if "?since" in path and "changes" not in path]
    table = here.hilum("compare", "orthanc", noted.http_url)
    assert (table.returncode, table.stdout.count("metadata")) == (1, 1)


def test_notes_that_cannot_be_copied_are_reported(
    noted: RunningOrthanc, make_here: Callable[..., Here]
) -> None:
    put(f"{noted.http_url}/instances/{post(noted, PATH_AS_UID)}/metadata/1024", b"x")

    def misbehave(path: str, times: int) -> str:
        return "flip" if path.endswith("attachments/1099/data") else ""

    here = make_here()  # where nobody knows the number of CaseId
    with flaky(noted.http_url, misbehave) as server:
        done = here.hilum("migrate", "orthanc", server.url)
    assert done.returncode == 1
    assert done.stdout.count("metadata CaseId has a number") == 2
    assert done.stdout.count("it has notes in Orthanc, and is not here") == 1
    assert done.stdout.count("MD5 of what came") == 1
    assert f"{len(NOTES) - CACHES - 3} notes" in done.stdout


def test_notes_move_into_a_node_that_runs_and_out_of_it(
    noted: RunningOrthanc, make_here: Callable[..., Here]
) -> None:
    here, away = make_here(**NAMED), make_here(**NAMED)
    settings = {name: here.environment[name] for name in here.environment if "HILUM" in name}
    with running(here.folder, **settings) as node:
        for number in range(3):
            put_in = urllib.request.Request(
                f"{node.http_url}/instances", part10(ct(number, size=32)), method="POST"
            )
            urllib.request.urlopen(put_in, timeout=30).close()
        own = f"/studies/{study_id(1)}/metadata/CaseId"
        put(node.http_url + own, b"somebody's")
        put(f"{node.http_url}/studies/{study_id(1)}/labels/urgent", b"")
        done = away.hilum("migrate", "orthanc", noted.http_url, "--to", node.http_url)
        # What somebody has noted here is not replaced, and said to be another.
        assert done.returncode == 1
        assert "something else is noted here under 1024" in done.stdout
        assert told(node.http_url, own) == b"somebody's"
        for path, value in NOTES.items():
            if path != own and not path.endswith("4301"):
                assert told(node.http_url, path) == value
        put(node.http_url + own, b"S-1")
        compared = away.hilum(
            "compare", "orthanc", noted.http_url, "--with", node.http_url, "--json"
        )
        assert json.loads(compared.stdout)["notes"] == [
            {"resource": f"/studies/{study_id(1)}", "reason": "label urgent is here only"}
        ]
        # Labels are of Orthanc 1.12, whose language the node speaks.
        assert away.hilum("migrate", "orthanc", node.http_url).returncode == 0
        assert away.hilum("compare", "orthanc", node.http_url).stdout == ""
    with pymongo.MongoClient(away.environment["HILUM_MONGODB_URI"]) as client:
        database = client[away.environment["HILUM_MONGODB_DATABASE"]]
        assert database.attached.distinct("labels") == ["urgent"]


def ids_stored(here: Here) -> set[str]:
    """The ids of what lies in the store, as its bytes have them."""
    found = set()
    for path in here.objects():
        with path.open("rb") as file:
            found.add(read_header(file).identity.instance)
    return found


def test_a_migration_that_was_killed_goes_on_and_ends_with_an_empty_comparison(
    full: RunningOrthanc, here: Here
) -> None:
    instances = ask(full, "/instances")
    with flaky(full.http_url) as counted:
        first = here.start("migrate", "orthanc", counted.url, "--jobs", "1")
        wait_until(lambda: len(here.objects()) > 50, 60, "the migration is at it")
        first.kill()
        first.communicate()
        kept = len(here.objects())
        assert kept < len(instances)
        missing = here.hilum("compare", "orthanc", full.http_url, "--json")
        assert missing.returncode == 1
        assert len(json.loads(missing.stdout)["missing_here"]) <= len(instances) - kept
        before = counted.asked.copy()
        second = here.hilum("migrate", "orthanc", counted.url)
        assert second.returncode == 0, second.stdout
        again = counted.asked - before
    # What was here was not fetched once more, and what was not, once.
    fetched = [path for path in again if path.endswith("/file")]
    assert f"{len(fetched)} copied" in second.stdout
    assert f"{len(instances) - len(fetched)} were here already" in second.stdout
    assert kept <= len(instances) - len(fetched)
    assert ids_stored(here) == set(instances)
    done = here.hilum("compare", "orthanc", full.http_url)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    assert here.hilum("verify").returncode == 0


def test_a_server_with_hiccups_is_asked_again_and_never_believed_without_its_digest(
    small: RunningOrthanc, here: Here
) -> None:
    instances = sorted(ask(small, "/instances"))
    manners = dict(zip(instances, ("503", "cut", "flip"), strict=True))

    def misbehave(path: str, times: int) -> str:
        if path.endswith("/file") and times == 1:
            return manners[path.split("/")[2]]
        return "503" if times == 1 and "changes" in path else ""

    with flaky(small.http_url, misbehave) as server:
        done = here.hilum("migrate", "orthanc", server.url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [server.asked[f"/instances/{each}/file"] for each in instances] == [2, 2, 2]
    assert here.hilum("compare", "orthanc", small.http_url).stdout == ""


def test_an_instance_that_always_comes_damaged_is_reported_and_not_stored(
    small: RunningOrthanc, here: Here
) -> None:
    wrong, *right = sorted(ask(small, "/instances"))

    def misbehave(path: str, times: int) -> str:
        return "flip" if path == f"/instances/{wrong}/file" else ""

    with flaky(small.http_url, misbehave) as server:
        done = here.hilum("migrate", "orthanc", server.url)
    assert done.returncode == 1
    assert wrong in done.stdout
    assert "MD5" in done.stdout
    assert ids_stored(here) == set(right)


def test_what_arrives_meanwhile_is_taken_too(small: RunningOrthanc, here: Here) -> None:
    late: list[str | None] = []
    arriving = threading.Lock()

    def while_asked(path: str, times: int) -> str:
        with arriving:
            if path.endswith("/file") and not late:
                late.extend(
                    post(small, part10(ct(number, study="late", size=16))) for number in range(3)
                )
        return ""

    with flaky(small.http_url, while_asked) as server:
        done = here.hilum("migrate", "orthanc", server.url)
    assert "6 copied" in done.stdout
    assert set(late) <= ids_stored(here)
    # From where that ended, what came afterwards is had without the whole being looked at.
    since = done.stdout.split("--since ")[1].split()[0]
    post(small, part10(ct(1, study="later", size=16)))
    with flaky(small.http_url) as server:
        done = here.hilum("migrate", "orthanc", server.url, "--since", since)
        assert not [path for path in server.asked if path.startswith("/instances?")]
    assert "1 copied" in done.stdout
    assert here.hilum("compare", "orthanc", small.http_url).returncode == 0


def test_a_comparison_names_what_differs(small: RunningOrthanc, here: Here) -> None:
    assert here.hilum("migrate", "orthanc", small.http_url).returncode == 0
    folder = here.folder.parent
    # The same data set behind other file meta information is no difference; other pixels are.
    other_meta = ct(0, size=32)
    other_meta.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    other_pixels = ct(1, size=32)
    other_pixels.PixelData = bytes(len(other_pixels.PixelData))
    gone = ask(small, f"/instances/{_id_of(part10(ct(2, size=32)))}")["ID"]
    delete(small, f"/instances/{gone}")
    for data_set in (other_meta, other_pixels):
        old = _id_of(part10(data_set))
        delete(small, f"/instances/{old}")
        assert post(small, part10(data_set)) == old
    new = post(small, part10(ct(9, study="new", size=16)))
    refused = post(small, PATH_AS_UID)
    here.hilum("import", str(_written(folder / "own.dcm", part10(ct(7, study="own", size=16)))))
    done = here.hilum("compare", "orthanc", small.http_url, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert {each["instance"] for each in found["missing_here"]} == {new, refused}
    assert {each["instance"] for each in found["missing_there"]} == {
        gone,
        _id_of(part10(ct(7, study="own", size=16))),
    }
    (different,) = found["different"]
    assert different["sop_instance_uid"] == other_pixels.SOPInstanceUID
    assert found["same_data_sets"] == 1
    assert found["there"] == {
        level: ask(small, "/statistics")[f"Count{level.capitalize()}"]
        for level in ("patients", "studies", "series", "instances")
    }
    assert found["here"] == {"patients": 2, "studies": 2, "series": 2, "instances": 4}
    table = here.hilum("compare", "orthanc", small.http_url).stdout
    for text in ("Missing here: 2", "Missing in Orthanc: 2", "Other bytes", uid("new", "new", 9)):
        assert text in table or text == uid("new", "new", 9)


def test_what_cannot_be_stored_is_in_quarantine_once_and_said_to_be(
    small: RunningOrthanc, here: Here
) -> None:
    refused = post(small, PATH_AS_UID)
    assert refused is not None
    for _ in range(2):
        done = here.hilum("migrate", "orthanc", small.http_url)
        assert done.returncode == 1
        assert refused in done.stdout
        (kept,) = here.folder.glob("quarantine/*.dcm")
        assert kept.read_bytes() == PATH_AS_UID
    compared = here.hilum("compare", "orthanc", small.http_url, "--json")
    (missing,) = json.loads(compared.stdout)["missing_here"]
    assert missing["instance"] == refused
    assert kept.name in missing["reason"]


def test_a_patient_id_of_any_form_gives_orthancs_ids(small: RunningOrthanc, here: Here) -> None:
    # Both forms of padding, leading blanks, control characters, several values, unknown VR,
    # text that its character set has no meaning for.
    values = (
        b"AB  ",
        b" AB ",
        b"    ",
        b"AB\0 ",
        b"AB \0",
        b"AB\t ",
        b"A\0BC",
        b"A \\ B ",
        b"M\xfcl ",
    )
    posted = [
        post(small, with_patient_id(vr, value, number))
        for number, (vr, value) in enumerate((vr, value) for vr in ("LO", "UN") for value in values)
    ]
    assert None not in posted
    done = here.hilum("migrate", "orthanc", small.http_url)
    assert done.returncode == 0, done.stdout
    assert set(posted) <= ids_stored(here)


def test_a_password_is_asked_for_and_given(tmp_path: Path, make_here: Callable[..., Here]) -> None:
    settings = {"AuthenticationEnabled": True, "RegisteredUsers": {"mover": "s3cret/:@"}}
    with running_orthanc(tmp_path / "locked", **settings) as orthanc:
        refused = make_here().hilum("migrate", "orthanc", orthanc.http_url)
        assert refused.returncode == 1
        assert "user and a password" in refused.stderr
        here = make_here(ORTHANC_USER="mover", ORTHANC_PASSWORD="s3cret/:@")
        assert here.hilum("migrate", "orthanc", orthanc.http_url).returncode == 0
        named = orthanc.http_url.replace("//", "//mover:s3cret%2F%3A%40@")
        done = make_here().hilum("migrate", "orthanc", named)
        assert done.returncode == 0
        assert "s3cret" not in done.stdout + done.stderr


def test_a_node_that_runs_is_moved_into_and_compared_as_it_runs(
    small: RunningOrthanc, make_here: Callable[..., Here]
) -> None:
    users = {"HILUM_HTTP_USERS": '{"mover": "s3cret"}'}
    here = make_here(**users)
    settings = {name: here.environment[name] for name in here.environment if "HILUM" in name}
    with running(here.folder, **settings) as node:
        here.environment["HILUM_HTTP_PORT"] = str(node.http_port)
        late = post(small, part10(ct(5, study="large", size=1500)))
        refused = post(small, PATH_AS_UID)
        done = here.hilum("migrate", "orthanc", small.http_url)
        assert done.returncode == 1
        assert "4 copied" in done.stdout
        assert refused in done.stdout
        assert late in ids_stored(here)
        # By that rules of routing and shadow mode know that it is no news.
        with pymongo.MongoClient(here.environment["HILUM_MONGODB_URI"]) as client:
            database = client[here.environment["HILUM_MONGODB_DATABASE"]]
            assert database.instances.distinct("source") == ["migration"]
        again = here.hilum("migrate", "orthanc", small.http_url)
        assert "4 were here already" in again.stdout
        away = make_here()
        url = node.http_url.replace("//", "//mover:s3cret@")
        for compared in (
            here.hilum("compare", "orthanc", small.http_url, "--json"),
            away.hilum("compare", "orthanc", small.http_url, "--with", url, "--json"),
        ):
            assert compared.returncode == 1
            found = json.loads(compared.stdout)
            assert [each["instance"] for each in found["missing_here"]] == [refused]
            assert found["same_files"] == 4
            assert not found["missing_there"] + found["different"] + found["unread"]
        post(small, part10(ct(6, study="large", size=16)))
        named = away.hilum("migrate", "orthanc", small.http_url, "--to", url)
        assert "1 copied" in named.stdout
        assert "s3cret" not in named.stdout + named.stderr
        assert not away.objects()


@pytest.mark.parametrize("compressed", [False, True])
def test_the_storage_of_an_orthanc_is_imported_without_what_it_made_of_it(
    tmp_path: Path, here: Here, compressed: bool
) -> None:
    settings = {"StorageCompression": compressed}
    with running_orthanc(tmp_path / "stored", **settings) as orthanc:
        for path in pydicom_files()[:12]:
            post(orthanc, path.read_bytes())
        # It has rows and no pixels: so have the beginnings that are kept of others.
        without_pixels = ct(1, study="without pixels")
        del without_pixels.PixelData
        assert post(orthanc, part10(without_pixels))
        assert post(orthanc, part10(ct(2, study="with pixels")))
    count = len([path for path in orthanc.storage.glob("??/??/*") if path.is_file()])
    done = here.hilum("import", str(orthanc.storage))
    assert done.returncode == 0, done.stdout
    with running_orthanc(tmp_path / "stored", **settings) as orthanc:
        total = ask(orthanc, "/statistics")["CountInstances"]
        assert f"{total} stored" in done.stdout
        # The premise: with compression Orthanc keeps more files than it has instances.
        assert (count > total) == compressed
        compared = here.hilum("compare", "orthanc", orthanc.http_url)
        assert (compared.returncode, compared.stdout) == (0, "")


def test_a_damaged_attachment_is_reported_and_archives_are_unpacked(
    tmp_path: Path, here: Here
) -> None:
    name = "ab0d0f9c-1111-2222-3333-444455556666"
    folder = tmp_path / "OrthancStorage" / "ab" / "0d"
    folder.mkdir(parents=True)
    content = part10(ct(3, study="attached"))
    packed = len(content).to_bytes(8, "little") + zlib.compress(content)
    _written(folder / name, packed[:-30])
    with zipfile.ZipFile(folder.parent / "more.zip", "w") as archive:
        archive.writestr("a/1", part10(ct(4, study="attached")))
        archive.writestr("a/notes.txt", "not DICOM")
    done = here.hilum("import", str(tmp_path / "OrthancStorage"))
    assert done.returncode == 1
    assert name in done.stdout
    assert "1 stored" in done.stdout
    assert "1 not DICOM" in done.stdout
    _written(folder / name, packed)
    done = here.hilum("import", str(tmp_path / "OrthancStorage"))
    assert done.returncode == 0
    assert "1 stored" in done.stdout
    assert "1 already-stored" in done.stdout


def test_nobody_there_is_said_at_once(here: Here) -> None:
    done = here.hilum("migrate", "orthanc", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert here.hilum("migrate", "orthanc", "orthanc:8042").returncode == 2


def _id_of(content: bytes) -> str:
    return read_header(io.BytesIO(content)).identity.instance


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def with_patient_id(vr: str, value: bytes, number: int) -> bytes:
    """Return a file whose Patient ID has this VR and these bytes."""
    content = part10(ct(number, study=f"patient {number}", size=8))
    start = content.index(b"\x10\x00\x20\x00LO")
    length = int.from_bytes(content[start + 6 : start + 8], "little")
    size = len(value)
    head = (
        b"UN\0\0" + size.to_bytes(4, "little")
        if vr == "UN"
        else vr.encode() + size.to_bytes(2, "little")
    )
    return content[: start + 4] + head + value + content[start + 8 + length :]
