"""Routing by a whole node: what arrives in any way is at its destinations, whatever happens."""

import contextlib
import hashlib
import json
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.dcmtk import data_set_bytes, storescp, storescu
from tests.generated import ct, ct_files, save, uid
from tests.nodes import RunningNode, free_port, running, wait_until
from tests.orthancs import RunningOrthanc, running_orthanc

PASSWORD = "routing-password"


def digests(files: list[Path]) -> set[str]:
    """SHA-256 of what follows the file meta information."""
    return {hashlib.sha256(data_set_bytes(path)).hexdigest() for path in files}


def objects(node: RunningNode) -> set[str]:
    """The files a node has stored, by what they hold."""
    return digests([path for path in (node.data_dir / "objects").rglob("*") if path.is_file()])


def received(folder: Path) -> set[str]:
    """What a receiver has so far; it may be at one of its files."""
    found = set()
    for path in folder.iterdir():
        with contextlib.suppress(AssertionError):  # not even its preamble
            found |= digests([path])
    return found


def of_orthanc(orthanc: RunningOrthanc) -> set[str]:
    """What Orthanc has stored."""
    found = set()
    for instance in ask(f"{orthanc.http_url}/instances"):
        with urllib.request.urlopen(f"{orthanc.http_url}/instances/{instance}/file") as answer:
            content = answer.read()
        path = orthanc.folder / "answer.dcm"
        path.write_bytes(content)
        found |= digests([path])
    return found


def ask(url: str, method: str = "GET", **headers: str) -> Any:
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def queue(node: RunningNode) -> dict[str, dict[str, Any]]:
    shown = node.get_json("/api/queue?limit=0")
    return {each["name"]: each for each in shown["subscriptions"]}


def waiting(node: RunningNode, name: str) -> int:
    return int(queue(node).get(name, {}).get("waiting", 0))


@contextlib.contextmanager
def routing_node(
    folder: Path, mongodb_uri: str, peers: dict[str, int], **settings: Any
) -> Iterator[RunningNode]:
    """A node that passes on; settings of routing as they are in Python."""
    with running(
        folder,
        HILUM_MONGODB_URI=mongodb_uri,
        HILUM_MONGODB_DATABASE=f"test_{secrets.token_hex(6)}",
        HILUM_DICOM_PEERS=json.dumps(
            {title: {"host": "127.0.0.1", "port": port} for title, port in peers.items()}
        ),
        HILUM_EVENTS_STABLE_AFTER_SECONDS="1",
        **{
            f"HILUM_ROUTING_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in settings.items()
        },
    ) as node:
        yield node


def upload(node: RunningNode, path: Path) -> None:
    """As a browser does."""
    boundary = secrets.token_hex(8)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.dcm"\r\n\r\n'
    post(node, "/api/dicom/upload", f"multipart/form-data; boundary={boundary}", head, path)


def stow(node: RunningNode, path: Path) -> None:
    boundary = secrets.token_hex(8)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    post(node, "/dicom-web/studies", kind, head, path)


def post(node: RunningNode, path: str, content_type: str, head: str, file: Path) -> None:
    boundary = head.split("\r\n", maxsplit=1)[0]
    body = head.encode() + file.read_bytes() + f"\r\n{boundary}--\r\n".encode()
    request = urllib.request.Request(
        f"{node.http_url}{path}", body, {"Content-Type": content_type}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def orthanc_upload(node: RunningNode, path: Path) -> None:
    request = urllib.request.Request(f"{node.http_url}/instances", path.read_bytes(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def test_what_arrives_in_any_way_is_where_the_rules_say(mongodb_uri: str, tmp_path: Path) -> None:
    """To Orthanc everything, to a workstation the MR, to an archive what is stable."""
    by_dicom = ct_files(tmp_path / "ct", 3, study="ct")
    mr = [
        save(ct(number, study="mr", Modality="MR"), tmp_path / "mr" / f"{number}.dcm")
        for number in (1, 2)
    ]
    own = save(ct(9, study="own", Modality="MR"), tmp_path / "own.dcm")
    not_called = save(ct(3, study="mr", Modality="MR"), tmp_path / "mr.dcm")
    by_http = {
        name: save(ct(1, study=name, StudyDescription="Kopf"), tmp_path / f"{name}.dcm")
        for name in ("upload", "stow", "orthanc")
    }
    everything = digests([*by_dicom, *mr, not_called, own, *by_http.values()])
    archive_settings = {
        "HILUM_MONGODB_URI": mongodb_uri,
        "HILUM_MONGODB_DATABASE": f"test_{secrets.token_hex(6)}",
        "HILUM_HTTP_USERS": json.dumps({"router": PASSWORD}),
    }
    with (
        running_orthanc(tmp_path / "orthanc") as orthanc,
        running(tmp_path / "archive", **archive_settings) as archive,
        storescp(tmp_path / "ws", "WORKSTATION") as workstation,
        routing_node(
            tmp_path / "node",
            mongodb_uri,
            {"ORTHANC": orthanc.dicom_port, "WORKSTATION": workstation},
            shadow="ORTHANC",
            destinations={
                "ARCHIVE": {
                    "url": f"{archive.http_url}/dicom-web",
                    "username": "router",
                    "password": PASSWORD,
                }
            },
            rules={
                "MR": {
                    "to": "WORKSTATION",
                    "when": {"modality": "MR", "source": "dicom", "called_ae_title": "MR_*"},
                },
                "STABLE": {"to": "ARCHIVE", "on": "stable-study"},
                "HEADS": {
                    "to": "WORKSTATION",
                    "on": "stable-series",
                    "when": {"study_description": "k?pf*", "source": "http"},
                },
            },
        ) as node,
    ):
        assert len(storescu(node.peer, *by_dicom, not_called).acknowledged) == 4
        room = ("-aec", "MR_ROOM", *node.peer[2:])
        assert len(storescu(room, *mr).acknowledged) == 2
        assert len(storescu(room, "-aet", "WORKSTATION", own).acknowledged) == 1
        upload(node, by_http["upload"])
        stow(node, by_http["stow"])
        orthanc_upload(node, by_http["orthanc"])
        wait_until(lambda: of_orthanc(orthanc) == everything, what="the shadow has everything")
        wait_until(lambda: objects(archive) == everything, what="the archive has every study")
        expected = digests([*mr, *by_http.values()])
        wait_until(
            lambda: received(tmp_path / "ws") == expected, what="the workstation has its own"
        )
        states = queue(node)
        assert set(states) == {
            "shadow.ORTHANC",
            "route.MR.WORKSTATION",
            "route.STABLE.ARCHIVE",
            "route.HEADS.WORKSTATION",
        }
        wait_until(
            lambda: not any(each["waiting"] for each in queue(node).values()), what="it is noted"
        )
        assert not any(each["dead"] for each in queue(node).values())
        assert digests([own]) & received(tmp_path / "ws") == set(), "it came from there"
        assert PASSWORD not in node.log + json.dumps(states)


def test_a_destination_that_was_away_has_everything_when_it_is_back(
    mongodb_uri: str, tmp_path: Path
) -> None:
    """Though killed with a full queue, in the middle of delivering."""
    files = [
        path
        for study in range(4)
        for path in ct_files(tmp_path / f"in{study}", 30, study=study, size=16)
    ]
    gone = ct_files(tmp_path / "gone", 2, study="gone", size=16)
    port = free_port()
    out = tmp_path / "out"
    with routing_node(tmp_path / "node", mongodb_uri, {"OLD": port}, shadow="OLD") as node:
        assert len(storescu(node.peer, *files, *gone).acknowledged) == len(files) + 2
        wait_until(lambda: waiting(node, "shadow.OLD") == len(files) + 2, what="all are queued")
        wait_until(lambda: queue(node)["shadow.OLD"]["away"], what="it is found to be away")
        delete(node, uid("gone"))
        with storescp(out, "OLD", port=port):
            ask(f"{node.http_url}/api/queue/retry", "POST")
            wait_until(lambda: len(list(out.iterdir())) > 5, what="it begins to receive")
            node.kill()
            node.start()
            assert waiting(node, "shadow.OLD"), "not all were sent"
            wait_until(lambda: not waiting(node, "shadow.OLD"), 60, "the queue is empty")
        assert received(out) == digests(files)
        assert queue(node)["shadow.OLD"]["dead"] == 0


def delete(node: RunningNode, study: str) -> None:
    request = urllib.request.Request(f"{node.http_url}/dicom-web/studies/{study}", method="DELETE")
    urllib.request.urlopen(request, timeout=30).close()


def test_a_modality_of_a_client_is_followed_wherever_it_goes(
    tmp_path: Path, mongodb_uri: str
) -> None:
    rules = {"LATER": {"to": "modality:workstation"}}
    files = ct_files(tmp_path / "files", 3, study="later")
    name = "route.LATER.modality:workstation"

    def put(port: int, ae_title: str = "STORESCP") -> None:
        request = urllib.request.Request(
            f"{node.http_url}/modalities/workstation",
            json.dumps([ae_title, "127.0.0.1", port]).encode(),
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=30).close()

    with routing_node(tmp_path / "node", mongodb_uri, {}, rules=rules) as node:
        storescu(node.peer, files[0])
        # There is no such modality yet: what is for it waits.
        wait_until(lambda: waiting(node, name) == 1, what="it waits")
        for number, path in enumerate(files[1:]):
            with storescp(tmp_path / str(number)) as port:
                put(port)
                storescu(node.peer, path)
                wait_until(
                    lambda path=path, number=number: (
                        digests([path]) <= received(tmp_path / str(number))
                    ),
                    what="it is where the modality is by now",
                )
                wait_until(lambda: waiting(node, name) == 0, 60, "nothing is left")
        assert received(tmp_path / "0") == digests(files[:2])
        assert received(tmp_path / "1") == digests(files[2:])
        # What comes from there does not go back there; what came behind it does go.
        put(free_port(), "CT_ROOM")
        first, second = (save(ct(n, study="later"), tmp_path / f"{n}.dcm") for n in (8, 9))
        storescu(node.peer, "-aet", "CT_ROOM", first)
        storescu(node.peer, second)
        wait_until(lambda: waiting(node, name), what="the second one waits")
        assert waiting(node, name) == 1
