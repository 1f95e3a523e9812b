"""What the node does, shown as it happens, in a real Chromium: nothing is reloaded."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests import dcmtk
from tests.generated import ct_files, uid
from tests.nodes import RunningNode, running
from tests.visits import Visit, chromium, visiting


class Receiver(BaseHTTPRequestHandler):
    """Takes a webhook's posts, or has them come back later."""

    fails = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if self.fails.is_set() else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, receiver: ThreadingHTTPServer
) -> Iterator[RunningNode]:
    port = receiver.server_port
    settings = {
        "HILUM_EVENTS_WEBHOOKS": json.dumps({"backend": {"url": f"http://127.0.0.1:{port}/hook"}}),
        "HILUM_EVENTS_STABLE_AFTER_SECONDS": "1",
        "HILUM_WORKERS": "2",
    }
    with running(tmp_path_factory.mktemp("activity") / "node", **settings) as node:
        yield node


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, node: RunningNode) -> Iterator[Visit]:
    with visiting(browser, node) as visit:
        yield visit


def watch_loads(page: Page) -> list[str]:
    """Return a list of the documents that the page loads from now on."""
    loaded: list[str] = []
    page.on("framenavigated", lambda frame: loaded.append(frame.url))
    return loaded


def test_a_study_comes_into_the_list_while_one_looks(
    visit: Visit, node: RunningNode, tmp_path: Path
) -> None:
    page = visit.goto("#/")
    expect(page.locator("#studies-blank")).to_be_visible()
    loaded = watch_loads(page)
    dcmtk.storescu(node.peer, *ct_files(tmp_path, 3, study="arriving"))
    row = page.locator(f'tr[data-study-uid="{uid("arriving")}"]')
    expect(row).to_be_visible()
    expect(row.locator('[data-field="instances"]')).to_have_text("3")
    assert loaded == []


def test_what_arrives_is_among_the_events_and_delivered(
    visit: Visit, node: RunningNode, tmp_path: Path
) -> None:
    page = visit.goto("#/activity")
    events = page.locator("#activity-events .event")
    receiver = page.locator(".receiver").filter(has_text="backend")
    expect(receiver).to_be_visible()
    loaded = watch_loads(page)
    dcmtk.storescu(node.peer, *ct_files(tmp_path, 4, study="telling"))
    of_study = events.filter(has=page.locator(f'a[href*="{uid("telling")}"]'))
    # One line for all that arrived, one more when nothing comes any more.
    expect(of_study.filter(has_text="4 images stored")).to_be_visible()
    expect(of_study.filter(has_text="Study stable")).to_be_visible()
    # Called what people call it, and by whom it came.
    expect(of_study.filter(has_text="Generated · Atelling")).to_have_count(of_study.count())
    expect(of_study.filter(has_text="4 images")).to_contain_text("from STORESCU")
    assert uid("telling") not in of_study.first.inner_text()
    expect(receiver).to_contain_text("0 waiting")
    expect(receiver).to_contain_text(re.compile(r"[1-9]\d* delivered"))
    assert loaded == []


def test_a_study_is_complete_only_if_somebody_said_how_much_it_is(
    visit: Visit, node: RunningNode
) -> None:
    said = visit.goto("#/activity").evaluate(
        """async () => {
          const { kindText } = await import("/static/js/activity/events.js");
          const of = (details) => kindText({ kind: "stable-series", level: "SERIES", details });
          return [
            of({ instances: 3 }),
            of({ instances: 3, expected_instances: 3, complete: true }),
            of({ instances: 3, expected_instances: 40, complete: false }),
          ];
        }"""
    )
    assert said == ["Series stable", "Series complete", "Series stable, 3 of 40 images"]


def test_a_receiver_that_fails_is_seen_and_tried_again(
    visit: Visit, node: RunningNode, tmp_path: Path
) -> None:
    Receiver.fails.set()
    try:
        page = visit.goto("#/activity")
        receiver = page.locator(".receiver").filter(has_text="backend")
        dcmtk.storescu(node.peer, *ct_files(tmp_path, 1, study="failing"))
        expect(receiver).to_contain_text("Away since")
        expect(receiver).to_contain_text("503")
        waiting = page.locator('.delivery[data-state="waiting"]')
        expect(waiting.first).to_be_visible()
    finally:
        Receiver.fails.clear()
    receiver.get_by_role("button", name="Try again").click()
    expect(receiver).to_contain_text("0 waiting")
    expect(waiting).to_have_count(0)


def test_uploads_are_seen_as_they_are_made(visit: Visit, node: RunningNode, tmp_path: Path) -> None:
    page = visit.goto("#/activity")
    log = page.locator("#activity-uploads tbody tr")
    files = ct_files(tmp_path, 3, study="uploaded")
    url = f"{node.http_url}/api/dicom/upload"
    requests.post(url, files=[("file", (f.name, f.read_bytes())) for f in files], timeout=30)
    expect(log).to_have_count(1)
    expect(log).to_contain_text("3 files")
    expect(log).to_contain_text("3 stored")
    # What follows at once is on the same line.
    requests.post(url, files=[("file", ("a.txt", b"no DICOM"))], timeout=30)
    expect(log).to_contain_text("4 files")
    expect(log).to_contain_text("1 not DICOM")
    expect(log).to_have_count(1)


def test_what_was_deleted_is_had_back(visit: Visit, node: RunningNode, tmp_path: Path) -> None:
    study_uid = uid("deleted")
    dcmtk.storescu(node.peer, *ct_files(tmp_path, 2, study="deleted"))
    page = visit.goto("#/activity")
    requests.delete(f"{node.http_url}/dicom-web/studies/{study_uid}", timeout=30).raise_for_status()
    deleted = page.locator("#activity-trash tbody tr").filter(has_text=study_uid)
    expect(deleted).to_contain_text("2 images")
    deleted.get_by_role("button", name="Restore").click()
    expect(deleted).to_have_count(0)
    page.get_by_role("link", name="Hilum, list of studies").click()
    expect(page.locator(f'tr[data-study-uid="{study_uid}"]')).to_be_visible()
