"""The web page in a real Chromium on a real node.

What the canvas shows is compared with pixels windowed here, by numpy from PS3.3
C.11.2.1.2, and with the shared oracle where it is present. The viewer's own parts are
tested in `test_viewer`.
"""

import hashlib
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Request, Route, expect
from pydicom import dcmread
from pydicom.uid import XRayAngiographicImageStorage

from hilum.demo.studies import write_studies
from tests import dcmtk
from tests.corpus import REAL_IMAGES, rows
from tests.generated import ct, ct_files, save, uid
from tests.nodes import RunningNode
from tests.visits import (
    CANVAS,
    Visit,
    canvas_pixels,
    chromium,
    drag,
    visiting,
    wait_for_image,
    windowed,
)

#: Slices are wider than high, so that a picture that is turned or stretched shows.
SHAPE = (48, 64)
SLICES = 12


def slice_pixels(number: int) -> NDArray[np.uint16]:
    return np.random.default_rng(number).integers(0, 4096, SHAPE, dtype="<u2")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, shared_node: RunningNode) -> Iterator[Visit]:
    """A visit to the module's node that must end without a problem."""
    with visiting(browser, shared_node) as visit:
        yield visit


@pytest.fixture(scope="module")
def ct_study(shared_node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CT series on the node; its Study Instance UID."""
    folder = tmp_path_factory.mktemp("ct")
    for number in range(1, SLICES + 1):
        data_set = ct(
            number,
            study="page",
            Rows=SHAPE[0],
            Columns=SHAPE[1],
            PixelData=slice_pixels(number).tobytes(),
            PatientName="Doe^Jane=ドウ^ジェーン",
            PatientBirthDate="19700412",
            PatientSex="F",
            SeriesDescription="Noise 1.5",
        )
        save(data_set, folder / f"{number}.dcm")
    sent = dcmtk.storescu(shared_node.peer, "+sd", folder)
    assert len(sent.acknowledged) == SLICES
    return uid("page")


# The list -----------------------------------------------------------------------------


def test_list_tells_who_was_examined_when_and_how(visit: Visit, ct_study: str) -> None:
    page = visit.goto("#/?search=TEST-page")
    row = page.locator(f'tr[data-study-uid="{ct_study}"]')

    def texts(name: str) -> str:
        return row.locator(f'[data-field="{name}"]').inner_text()

    expect(row).to_be_visible()
    assert texts("name") == "Doe, Jane"
    assert texts("id") == "TEST-page"
    assert texts("born") == "1970-04-12"
    assert texts("age-sex") == "55 y · F"
    assert texts("date") == "2026-01-02"
    assert texts("time") == "03:04"
    assert texts("modalities") == "CT"
    assert texts("description") == "Generated"
    assert texts("accession") == "Apage"
    assert (texts("series"), texts("instances")) == ("1", str(SLICES))
    assert texts("received") == "just now"
    expect(row.locator('.thumbnail[data-state="shown"]')).to_be_visible()


def test_list_is_narrowed_by_text_modality_and_date(visit: Visit, ct_study: str) -> None:
    page = visit.goto()
    row = page.locator(f'tr[data-study-uid="{ct_study}"]')
    blank = page.locator("#studies-blank")
    expect(row).to_be_visible()

    page.keyboard.press("/")
    page.keyboard.type("doe")
    expect(page).to_have_url(re.compile("search=doe"))
    expect(row).to_be_visible()
    page.get_by_label("MR", exact=True).check()
    expect(blank).to_contain_text("No study matches")
    expect(row).to_be_hidden()
    page.get_by_label("CT", exact=True).check()
    expect(row).to_be_visible()

    page.get_by_label("Study date", exact=True).select_option("range")
    page.get_by_label("From study date").fill("2026-01-03")
    expect(blank).to_contain_text("No study matches")
    page.get_by_label("From study date").fill("2026-01-01")
    page.get_by_label("To study date").fill("2026-01-02")
    expect(row).to_be_visible()

    page.reload()  # the address keeps what was asked for
    expect(page.get_by_label("Search studies")).to_have_value("doe")
    expect(row).to_be_visible()
    page.get_by_label("Search studies").fill("nobody of this name")
    page.get_by_role("button", name="Clear search and filters").click()
    expect(row).to_be_visible()
    expect(page).to_have_url(re.compile(r"#/$"))


def test_list_comes_in_pages_as_one_scrolls(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    for number in range(60):
        study = f"many-{number:02}"
        save(ct(study=study, size=8, StudyDescription="Manifold"), tmp_path / f"{study}.dcm")
    assert len(dcmtk.storescu(shared_node.peer, "+sd", tmp_path).acknowledged) == 60

    with visit.page.expect_response(re.compile(r"search=Manifold.*limit=50|limit=50.*Manifold")):
        page = visit.goto("#/?search=Manifold")
    expect(page.locator("#filters output")).to_have_text("60 studies")
    page.locator("#studies-scroll").hover()
    page.mouse.wheel(0, 20_000)
    expect(page.locator("tr[data-study-uid]")).to_have_count(60)


def test_a_name_is_text_whatever_is_in_it(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    name = "<script>alert(1)</script>"  # an equals sign would end the name's group
    text = "<img src=x onerror=alert(1)>"
    hostile = {"PatientName": name, "StudyDescription": text, "SeriesDescription": text}
    save(ct(study="hostile", **hostile), tmp_path / "1.dcm")
    dcmtk.storescu(shared_node.peer, tmp_path / "1.dcm")
    visit.page.on("dialog", lambda dialog: visit.problems.append(f"ran: {dialog.message}"))

    page = visit.goto("#/?search=TEST-hostile")
    row = page.locator(f'tr[data-study-uid="{uid("hostile")}"]')
    expect(row.locator('[data-field="name"]')).to_have_text(name)
    expect(row.locator('[data-field="description"]')).to_have_text(text)
    row.locator(".study__link").click()
    wait_for_image(page, 0)
    expect(page.locator('[data-corner="patient"]')).to_contain_text(name)
    expect(page.locator('[data-corner="series"]')).to_contain_text(text)
    assert page.locator('img[src="x"]').count() == 0


def test_values_are_written_as_people_read_them(visit: Visit) -> None:
    page = visit.goto()
    shown = page.evaluate(
        """async () => {
          const f = await import("/static/js/format.js");
          return {
            plain: f.personName("DOE^Jane^Q^Dr^Jr"),
            groups: f.personName("Yamada^Tarou=山田^太郎=やまだ^たろう"),
            noAlphabetic: f.personName("=山田^太郎"),
            empty: f.personName("^^^^"),
            oldDate: f.date("1997.04.24"),
            oddDate: f.date(" May 1st"),
            time: f.time("084210.123456"),
            hour: f.time("08"),
            infant: f.age("20251105", "20260118"),
            dayBefore: f.age("19700119", "20260118"),
            unborn: f.age("20270101", "20260118"),
            large: f.bytes(1_400_000),
            rounded: f.bytes(999_600),
          };
        }"""
    )
    assert shown == {
        "plain": {"name": "DOE, Jane Q Jr", "other": ""},
        "groups": {"name": "Yamada, Tarou", "other": "山田 太郎 · やまだ たろう"},
        "noAlphabetic": {"name": "山田 太郎", "other": ""},
        "empty": {"name": "", "other": ""},
        "oldDate": "1997-04-24",
        "oddDate": "May 1st",
        "time": "08:42",
        "hour": "08",
        "infant": "2 mo",
        "dayBefore": "55 y",
        "unborn": "",
        "large": "1.4 MB",
        "rounded": "1.0 MB",
    }


# The viewer ---------------------------------------------------------------------------


def test_canvas_holds_every_slice_pixel_for_pixel(visit: Visit, ct_study: str) -> None:
    page = visit.goto("#/?search=TEST-page")
    page.locator(f'tr[data-study-uid="{ct_study}"] .study__link').click()
    wait_for_image(page, 0)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(1), 40, 400))
    expect(page.locator('[data-corner="picture"]')).to_contain_text("C 40 W 400")
    expect(page.locator('[data-corner="patient"]')).to_contain_text("Doe, Jane")
    expect(page.locator(".series")).to_contain_text("Noise 1.5")

    page.locator(CANVAS).hover()
    page.mouse.wheel(0, 100)
    wait_for_image(page, 1)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(2), 40, 400))
    page.keyboard.press("ArrowDown")
    wait_for_image(page, 2)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(3), 40, 400))
    page.keyboard.press("End")
    wait_for_image(page, SLICES - 1)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(SLICES), 40, 400))
    page.get_by_label("Image in series").fill("5")
    wait_for_image(page, 4)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(5), 40, 400))
    expect(page.locator("#position")).to_have_text(f"5 / {SLICES}")
    expect(page).to_have_url(re.compile(r"image=5$"))

    page.reload()  # a link leads back to the same slice
    wait_for_image(page, 4)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(5), 40, 400))
    page.keyboard.press("Escape")
    expect(page.locator("#study-table")).to_be_visible()


def test_scrolling_fast_ends_where_the_hand_stops(visit: Visit, ct_study: str) -> None:
    page = visit.open_study(ct_study)
    for key in ["ArrowDown"] * 30 + ["ArrowUp"] * 4:
        page.keyboard.press(key)
    wait_for_image(page, SLICES - 5)
    expected = windowed(slice_pixels(SLICES - 4), 40, 400)
    np.testing.assert_array_equal(canvas_pixels(page), expected)


def test_dragging_windows_the_image(visit: Visit, ct_study: str) -> None:
    page = visit.open_study(ct_study)
    asked: list[dict[str, str]] = []
    page.on("request", lambda request: note_window(request, asked))
    before = canvas_pixels(page)

    drag(page, 120, -40)
    corner = page.locator('[data-corner="picture"]')
    expect(corner).not_to_contain_text("C 40 W 400")
    expect(page.locator(f'{CANVAS}[data-ready="true"]')).to_be_visible()
    center, width = float(asked[-1]["center"]), float(asked[-1]["width"])
    assert width > 400, "to the right is wider"
    assert center < 40, "upwards is brighter"
    expect(corner).to_contain_text(f"C {center:.0f} W {width:.0f}")
    after = canvas_pixels(page)
    assert (after != before).any()
    np.testing.assert_array_equal(after, windowed(slice_pixels(1), center, width))

    page.keyboard.press("ArrowDown")  # the window stays while one scrolls
    wait_for_image(page, 1)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(2), center, width))
    page.keyboard.press("i")
    np.testing.assert_array_equal(
        canvas_pixels(page), 255 - windowed(slice_pixels(2), center, width)
    )
    page.keyboard.press("r")
    expect(corner).to_contain_text("C 40 W 400")
    wait_for_image(page, 1)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(2), 40, 400))


def test_dragging_an_image_without_a_window_starts_from_its_range(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    # Values from 1976 to 2975 after the rescale, shown through no window of its own.
    stored = np.linspace(3000, 3999, SHAPE[0] * SHAPE[1]).round().astype("<u2").reshape(SHAPE)
    image = ct(
        study="bare", Rows=SHAPE[0], Columns=SHAPE[1], PixelData=stored.tobytes(), RescaleSlope=1
    )
    del image.WindowCenter, image.WindowWidth
    dcmtk.storescu(shared_node.peer, save(image, tmp_path / "1.dcm"))

    page = visit.open_study(uid("bare"))
    corner = page.locator('[data-corner="picture"]')
    expect(corner).to_contain_text("Window automatic")
    asked: list[dict[str, str]] = []
    page.on("request", lambda request: note_window(request, asked))
    with page.expect_response(re.compile("center=.*size=")):
        drag(page, 5, 0)  # the first move has the page look at the range
    page.wait_for_load_state("networkidle")
    asked.clear()
    drag(page, 4, 0)
    expect(corner).not_to_contain_text("Window automatic")
    assert abs(float(asked[-1]["center"]) - 2475) < 25
    assert abs(float(asked[-1]["width"]) - 1000) < 60


def test_a_film_plays_at_its_own_rate_and_stops(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    frames = np.stack([np.full(SHAPE, 10 * number, np.uint8) for number in range(25)])
    film = ct(
        study="film",
        SOPClassUID=XRayAngiographicImageStorage,
        Modality="XA",
        NumberOfFrames=25,
        FrameTime=20,
        Rows=SHAPE[0],
        Columns=SHAPE[1],
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        RescaleIntercept=0,
        WindowCenter=128,
        WindowWidth=256,
        PixelData=frames.tobytes() + b"\0" * (frames.size % 2),
    )
    dcmtk.storescu(shared_node.peer, save(film, tmp_path / "film.dcm"))

    page = visit.open_study(uid("film"))
    page.keyboard.press("Space")
    page.wait_for_function(
        "selector => Number(document.querySelector(selector).dataset.position) >= 12", arg=CANVAS
    )
    pause = page.get_by_role("button", name="Pause")
    assert pause.get_attribute("title") == "Pause (space), 50 images a second"
    pause.click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    shown = page.locator(CANVAS).get_attribute("data-position")
    assert shown is not None
    assert (canvas_pixels(page) == 10 * int(shown)).all()
    expect(page.locator('[data-corner="series"]')).to_contain_text(f"frame {int(shown) + 1} of 25")


def test_the_demonstration_is_there_to_look_at(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    sent = subprocess.run(
        [sys.executable, "-m", "hilum", "demo", f"HILUM@127.0.0.1:{shared_node.dicom_port}"],
        capture_output=True,
        check=False,
    )
    assert sent.returncode == 0, sent.stderr
    slices = [dcmread(path) for path in write_studies(tmp_path)]
    for first in {each.StudyInstanceUID: each for each in reversed(slices)}.values():
        page = visit.goto(f"#/?search={first.PatientID}")
        page.locator(f'tr[data-study-uid="{first.StudyInstanceUID}"] .study__link').click()
        wait_for_image(page, 0)
        shown = canvas_pixels(page)
        assert shown.shape == (first.Rows, first.Columns)
        if first.Modality == "CT":
            stored = first.pixel_array + (first.RescaleIntercept + 1024)
            expected = windowed(stored, first.WindowCenter[0], first.WindowWidth[0])
            np.testing.assert_array_equal(shown, expected)
        else:
            assert np.unique(shown).size > 50  # a picture, and not a flat one


def test_a_study_that_goes_on_arriving_keeps_its_images_apart(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    # Slices that sort in front of the one on the screen shift its place in the study.
    def one(number: int) -> Path:
        return save(
            ct(
                number,
                study="growing",
                Rows=SHAPE[0],
                Columns=SHAPE[1],
                PixelData=slice_pixels(number).tobytes(),
            ),
            tmp_path / f"{number}.dcm",
        )

    dcmtk.storescu(shared_node.peer, one(4))
    page = visit.open_study(uid("growing"))
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(4), 40, 400))
    dcmtk.storescu(shared_node.peer, one(1), one(2), one(3))
    wait_for_image(page, 3)
    expect(page.locator("#position")).to_have_text("4 / 4")
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(4), 40, 400))
    page.keyboard.press("Home")
    wait_for_image(page, 0)
    np.testing.assert_array_equal(canvas_pixels(page), windowed(slice_pixels(1), 40, 400))


def test_a_picture_of_another_instance_is_never_shown(visit: Visit, ct_study: str) -> None:
    refused: list[str] = []

    def as_if_a_slice_had_come_in_front(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(response=route.fetch(url=route.request.url.replace("/frames/3", "/frames/2")))

    visit.page.route(re.compile("/frames/3"), as_if_a_slice_had_come_in_front)
    visit.open_study(ct_study)
    for _ in range(3):
        visit.page.keyboard.press("ArrowDown")
    wait_for_image(visit.page, 3)
    assert refused
    assert np.array_equal(canvas_pixels(visit.page), windowed(slice_pixels(4), 40, 400))


def test_an_instance_without_pixels_says_so(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    document = ct(study="document", Modality="OT")
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(document, keyword)
    dcmtk.storescu(shared_node.peer, save(document, tmp_path / "1.dcm"))
    page = visit.goto(f"#/studies/{uid('document')}")
    expect(page.locator(".viewport__blank")).to_contain_text("No images in this series")


@pytest.mark.skipif(not rows("RENDER_ORACLE.csv"), reason="the real images are not here")
def test_canvas_agrees_with_the_rendering_oracle(visit: Visit, shared_node: RunningNode) -> None:
    oracle = next(
        row
        for row in rows("RENDER_ORACLE.csv")
        if "LittleEndianExplicit" in row["file"] and row["window_from"] == "file"
    )
    path = REAL_IMAGES / oracle["file"]
    assert dcmtk.storescu(shared_node.peer, path).acknowledged
    visit.open_study(dcmtk.dump(path, "StudyInstanceUID")["StudyInstanceUID"])
    pixels = canvas_pixels(visit.page)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == oracle["sha256_gray8"]


# Uploads ------------------------------------------------------------------------------


def test_chosen_files_are_stored_with_progress(visit: Visit, tmp_path: Path) -> None:
    files = ct_files(tmp_path, 6, study="chosen", size=256)
    page = visit.goto("#/?search=TEST-chosen")
    expect(page.locator("#studies-blank")).to_contain_text("No study matches")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
    devtools.send("Network.emulateNetworkConditions", slow)

    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload", exact=True).click()
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(files)
    page.wait_for_function(
        """() => {
          const { value } = document.querySelector("#uploads progress");
          return value > 0 && value < 1;
        }"""
    )
    expect(page.locator("#uploads")).to_contain_text("6 files stored")
    assert page.locator('.upload[data-state="stored"]').all_inner_texts()
    row = page.locator(f'tr[data-study-uid="{uid("chosen")}"]')
    expect(row.locator('[data-field="instances"]')).to_have_text("6")

    devtools.detach()
    page.locator("#file-input").set_input_files(files[:1])
    expect(page.locator("#uploads")).to_contain_text("7 files stored")
    expect(page.locator(".upload").last).to_contain_text("Already stored")


def test_dropped_files_are_stored_or_refused_with_the_reason(visit: Visit, tmp_path: Path) -> None:
    good = save(ct(study="dropped"), tmp_path / "good.dcm")
    page = visit.goto("#/?search=TEST-dropped")
    dropped = page.evaluate_handle(
        """(good) => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(good)], "good.dcm"));
          files.items.add(new File(["no image at all"], "letter.txt"));
          return files;
        }""",
        list(good.read_bytes()),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": dropped})
    expect(page.locator("#drop")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    expect(page.locator("#drop")).to_be_hidden()

    refused = page.locator('.upload[data-state="refused"]')
    expect(refused).to_contain_text("letter.txt")
    expect(refused).to_contain_text("Not a DICOM file")
    expect(page.locator('.upload[data-state="stored"]')).to_contain_text("good.dcm")
    expect(page.locator(f'tr[data-study-uid="{uid("dropped")}"]')).to_be_visible()
    assert visit.problems, "the refusal is an answer with an error status"
    assert all("400" in problem for problem in visit.problems)
    visit.problems.clear()


def test_an_upload_that_failed_for_now_is_sent_again_on_request(
    visit: Visit, tmp_path: Path
) -> None:
    answer = {"success": False, "error": {"code": "storage-full", "message": "reserve reached"}}
    visit.page.route("**/api/dicom/upload", lambda route: route.fulfill(status=507, json=answer))
    page = visit.goto()
    page.locator("#file-input").set_input_files(ct_files(tmp_path, 2, study="again"))
    uploads = page.locator("#uploads")
    expect(uploads).to_contain_text("0 of 2 files stored")
    expect(page.locator('.upload[data-state="failed"]').first).to_contain_text("disk is full")
    assert all("507" in problem for problem in visit.problems)
    visit.problems.clear()

    page.unroute("**/api/dicom/upload")
    uploads.get_by_role("button", name="Retry failed").click()
    expect(uploads).to_contain_text("2 files stored")


@pytest.mark.parametrize("width", [390, 768, 1024])
def test_nothing_is_cut_off_in_a_narrow_window(
    browser: Browser, shared_node: RunningNode, ct_study: str, width: int
) -> None:
    with visiting(browser, shared_node, (width, 800)) as visit:
        page = visit.goto("#/?search=TEST-page")
        row = page.locator(f'tr[data-study-uid="{ct_study}"]')
        expect(row).to_be_visible()
        assert cut_off(page) == []
        expect(row.get_by_text("Doe, Jane")).to_be_visible()
        description = row.locator('[data-field="description"]')
        if description.is_visible():
            assert description.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
        row.click()
        wait_for_image(page, 0)
        # There are more tools than room on a telephone; they are scrolled.
        assert cut_off(page, ":not(.header *)") == []
        visit.goto("#/activity")
        expect(page.get_by_role("heading", name="Events")).to_be_visible()
        assert cut_off(page) == []


def cut_off(page: Page, which: str = "*") -> list[str]:
    """Return what reaches beyond the window's sides, of what somebody uses or reads."""
    found: list[str] = page.evaluate(
        """(which) => [...document.querySelectorAll("button, select, input, a, th, output, canvas")]
          .filter((one) => one.checkVisibility() && one.matches(`${which}:not(.skip-link)`))
          .filter((one) => {
            const { left, right } = one.getBoundingClientRect();
            return left < 0 || right > innerWidth;
          })
          .map((one) => one.outerHTML)""",
        which,
    )
    return found


def test_a_database_that_is_away_is_told_in_plain_words(
    browser: Browser, shared_node: RunningNode
) -> None:
    refusal = {
        "success": False,
        "error": {
            "code": "index-unavailable",
            "message": "MongoDB does not answer: ServerSelectionTimeoutError",
        },
    }
    page = browser.new_page()
    page.route("**/api/dicom/studies?*", lambda route: route.fulfill(status=503, json=refusal))
    page.goto(shared_node.http_url)
    blank = page.locator("#studies-blank")
    expect(blank).to_contain_text("The node's database does not answer.")
    expect(blank).to_contain_text("Studies that arrive are still kept")
    expect(blank).not_to_contain_text("Error")
    page.close()


# A node of its own --------------------------------------------------------------------


def test_page_lives_through_an_empty_and_an_absent_node(
    browser: Browser, running_node: RunningNode, tmp_path: Path
) -> None:
    visit = Visit(browser.new_page(viewport={"width": 1440, "height": 900}), running_node)
    visit.watch()
    page = visit.goto()
    blank, notice = page.locator("#studies-blank"), page.locator("#studies-notice")
    expect(blank).to_contain_text("No studies yet")
    expect(blank).to_contain_text(f"HILUM@127.0.0.1:{running_node.dicom_port}")

    dcmtk.storescu(running_node.peer, *ct_files(tmp_path / "ct", 2, study="live"))
    row = page.locator(f'tr[data-study-uid="{uid("live")}"]')
    expect(row.locator('[data-field="instances"]')).to_have_text("2", timeout=10_000)
    assert not visit.problems

    assert running_node.stop() == 0
    expect(notice).to_contain_text("The node does not answer", timeout=10_000)
    expect(row).to_be_visible()
    running_node.start()
    expect(notice).to_be_hidden(timeout=20_000)
    expect(row).to_be_visible()
    page.close()


def note_window(request: Request, asked: list[dict[str, str]]) -> None:
    """Keep the parameters of a frame that is asked for at its own size."""
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.url).query))
    if "center" in query and "size" not in query:
        asked.append(query)
