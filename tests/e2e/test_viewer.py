"""The viewer in a real Chromium: viewports, films, windows, zoom, keys, attributes, faults.

Pixels are compared with numpy's from PS3.3 C.11.2.1.2, attributes with what pydicom reads
in the file that was sent, a film with the clock.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import XRayAngiographicImageStorage

from tests import dcmtk
from tests.generated import ct, ct_files, save, uid
from tests.nodes import RunningNode, wait_until
from tests.visits import (
    CANVAS,
    VIEWPORT,
    Visit,
    canvas_pixels,
    chromium,
    drag,
    middle_of,
    visiting,
    wait_for_image,
    windowed,
)

#: Wider than high, so that a picture that is turned or stretched shows.
SHAPE = (48, 64)
SLICES = 4
SERIES = ("scout", "soft", "lung", "late", "more")
FRAMES = 20
FRAMES_PER_SECOND = 12
PICTURE = '[data-corner="picture"]'


def stored(series: str, number: int) -> NDArray[np.uint16]:
    seed = SERIES.index(series) * 100 + number
    return np.random.default_rng(seed).integers(0, 4096, SHAPE, dtype="<u2")


def one_slice(series: str, number: int) -> FileDataset:
    return ct(
        number,
        study="viewer",
        series=series,
        SeriesNumber=SERIES.index(series) + 1,
        SeriesDescription=series,
        SOPInstanceUID=uid("viewer", series, number),
        Rows=SHAPE[0],
        Columns=SHAPE[1],
        PixelData=stored(series, number).tobytes(),
        WindowCenter=[40, -500],
        WindowWidth=[400, 1400],
        WindowCenterWidthExplanation=["SOFT", "WIDE"],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )


def film() -> FileDataset:
    """Return a film whose recommended rate is not the one it was taken at."""
    plane, shared = Dataset(), Dataset()
    plane.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    shared.PlaneOrientationSequence = [plane]
    frames = np.stack([np.full(SHAPE, 8 * number, np.uint8) for number in range(FRAMES)])
    return ct(
        study="cine",
        SOPClassUID=XRayAngiographicImageStorage,
        Modality="XA",
        NumberOfFrames=FRAMES,
        FrameTime=40,
        RecommendedDisplayFrameRate=FRAMES_PER_SECOND,
        Rows=SHAPE[0],
        Columns=SHAPE[1],
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        RescaleIntercept=0,
        WindowCenter=128,
        WindowWidth=256,
        PixelData=frames.tobytes(),
        SharedFunctionalGroupsSequence=[shared],
    )


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
def files(shared_node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what is on the node: a CT study of several series, and a film."""
    folder = tmp_path_factory.mktemp("viewer")
    for series in SERIES:
        for number in range(1, SLICES + 1):
            save(one_slice(series, number), folder / series / f"{number}.dcm")
    save(film(), folder / "film.dcm")
    assert len(dcmtk.storescu(shared_node.peer, "+sd", "+r", folder).acknowledged) == 21
    return folder


@pytest.fixture
def study(files: Path) -> str:
    return str(dcmread(files / "scout" / "1.dcm").StudyInstanceUID)


@pytest.fixture
def film_study(files: Path) -> str:
    return str(dcmread(files / "film.dcm").StudyInstanceUID)


def viewport(page: Page, number: int) -> Locator:
    """Return a viewport, counted from 1 in reading order."""
    return page.locator(f".viewport:nth-child({number})")


def expect_series(page: Page, number: int, series: str, image: int = 1) -> None:
    """Wait until a viewport shows an image of a series, in every pixel."""
    canvas = f".viewport:nth-child({number}) canvas"
    shown = f'{canvas}[data-ready="true"][data-instance="{uid("viewer", series, image)}"]'
    expect(page.locator(shown)).to_be_attached()
    np.testing.assert_array_equal(
        canvas_pixels(page, canvas), windowed(stored(series, image), 40, 400)
    )
    expect(viewport(page, number).locator('[data-corner="series"]')).to_contain_text(series)


# Viewports ----------------------------------------------------------------------------


def test_viewports_are_filled_with_the_series_in_order(visit: Visit, study: str) -> None:
    page = visit.open_study(study)
    page.get_by_role("button", name="Four viewports").click()
    for number, series in enumerate(SERIES[:4], 1):
        expect_series(page, number, series)
    assert page.locator('.series[aria-current="true"]').count() == 1
    assert page.locator("li[data-shown]").count() == 4

    # The wheel and the keys act where the pointer was, and nowhere else.
    viewport(page, 3).click()
    page.keyboard.press("ArrowDown")
    expect_series(page, 3, "lung", 2)
    expect(page.locator("#position")).to_have_text(f"2 / {SLICES}")
    viewport(page, 2).hover()
    page.mouse.wheel(0, 100)
    expect_series(page, 2, "soft", 2)
    expect_series(page, 1, "scout", 1)
    expect_series(page, 3, "lung", 2)

    # A click takes a series into the active viewport, dragging into any.
    page.locator(".series", has_text="more").click()
    expect_series(page, 2, "more")
    page.locator("#series-list li", has_text="scout").drag_to(viewport(page, 4))
    expect_series(page, 4, "scout")
    expect(viewport(page, 4)).to_have_attribute("aria-current", "true")
    expect_series(page, 2, "more")

    expect(page).to_have_url(re.compile(r"layout=2x2&series=[\d.]+&image=1$"))
    page.reload()
    expect(page.locator('.viewport canvas[data-ready="true"]')).to_have_count(4)
    assert page.locator(".viewport").count() == 4

    # The next study is laid out as this one was, from its first series on.
    page.keyboard.press("Escape")
    page.locator(f'tr[data-study-uid="{study}"] .study__link').click()
    for number, series in enumerate(SERIES[:4], 1):
        expect_series(page, number, series)
    expect(viewport(page, 1)).to_have_attribute("aria-current", "true")


def test_a_study_is_taken_along(visit: Visit, study: str, tmp_path: Path) -> None:
    page = visit.open_study(study)
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download").click()
    assert downloaded.value.suggested_filename == "TESTviewer-20260102.zip"
    downloaded.value.save_as(tmp_path / "study.zip")
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(SERIES) * SLICES + 1
        assert "DICOMDIR" in archive.namelist()


def test_a_viewport_takes_all_the_room_and_gives_it_back(visit: Visit, study: str) -> None:
    page = visit.open_study(study, query="?layout=2x1")
    first, second = viewport(page, 1), viewport(page, 2)
    expect_series(page, 2, "soft")
    second.dblclick()
    expect(first).to_be_hidden()
    page.keyboard.press("PageDown")
    expect_series(page, 2, "soft", SLICES)
    page.keyboard.press("Escape")  # takes back one thing at a time
    expect(first).to_be_visible()
    expect_series(page, 2, "soft", SLICES)
    page.keyboard.press("v")
    expect(first).to_have_attribute("aria-current", "true")
    page.keyboard.press("Enter")
    expect(second).to_be_hidden()
    page.keyboard.press("l")
    page.keyboard.press("l")
    assert page.locator(".viewport").count() == 1
    expect_series(page, 1, "scout")
    page.keyboard.press("Escape")
    expect(page.locator("#study-table")).to_be_visible()


def test_frames_nearby_are_fetched_beforehand_and_no_more(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    dcmtk.storescu(shared_node.peer, *ct_files(tmp_path, 40, study="long", size=16))
    asked: list[int] = []

    def note(request: Request) -> None:
        if found := re.search(r"/frames/(\d+)$", request.url):  # thumbnails have a size
            asked.append(int(found[1]))

    visit.page.on("request", note)
    page = visit.open_study(uid("long"))
    page.wait_for_load_state("networkidle")
    assert sorted(asked) == list(range(11)), "the one in view and ten ahead"
    asked.clear()
    for last in (20, 30, 39):
        with page.expect_response(re.compile(rf"/frames/{last}$")):
            page.keyboard.press("PageDown")
    assert sorted(asked) == list(range(11, 40)), "each once"


# Windows ------------------------------------------------------------------------------

PRESETS = [(40, 80), (-600, 1500), (480, 2500), (40, 400), (50, 350), (90, 150)]


def test_presets_are_windows_in_every_pixel(visit: Visit, study: str) -> None:
    page = visit.open_study(study)
    values = stored("scout", 1)

    def expect_window(center: float, width: float, own: bool = False) -> None:
        expect(page.locator(PICTURE)).to_contain_text(f"C {center} W {width}")
        asked = "//" if own else f"/{center}/{width}"
        expect(page.locator(f'{CANVAS}[data-ready="true"][data-key$="{asked}"]')).to_be_visible()
        np.testing.assert_array_equal(canvas_pixels(page), windowed(values, center, width))

    menu = page.get_by_label("Window", exact=True).and_(page.locator("select"))
    for key, (center, width) in enumerate(PRESETS, 1):
        page.keyboard.press(str(key))
        expect_window(center, width)
        assert menu.evaluate("menu => menu.selectedOptions[0].text").startswith(f"{key} · ")
    page.keyboard.press("0")
    expect_window(40, 400, own=True)
    expect(menu.locator("option", has_text="WIDE")).to_have_count(1)  # as the file calls it
    menu.select_option(label="WIDE")
    expect_window(-500, 1400)
    page.keyboard.press("i")  # the keys are the picture's again, not the menu's
    np.testing.assert_array_equal(canvas_pixels(page), 255 - windowed(values, -500, 1400))
    page.keyboard.press("r")
    expect_window(40, 400, own=True)

    page.keyboard.press("p")  # the right button windows whatever the tool is
    drag(page, 60, 30, "right")
    expect(page.locator(PICTURE)).not_to_contain_text("C 40 W 400")
    assert menu.evaluate("menu => menu.selectedOptions[0].text").startswith("C ")


def test_images_of_other_modalities_offer_their_own_windows(
    visit: Visit, shared_node: RunningNode, tmp_path: Path
) -> None:
    image = ct(study="mr", Modality="MR", WindowCenter=[500, 300, 100], WindowWidth=[900, 500, 200])
    dcmtk.storescu(shared_node.peer, save(image, tmp_path / "1.dcm"))
    page = visit.open_study(uid("mr"))
    values = np.frombuffer(image.PixelData, "<u2").reshape(64, 64)
    for key, (center, width) in {"2": (100, 200), "1": (300, 500), "0": (500, 900)}.items():
        page.keyboard.press(key)
        expect(page.locator(PICTURE)).to_contain_text(f"C {center} W {width}")
        wait_for_image(page, 0)
        np.testing.assert_array_equal(canvas_pixels(page), windowed(values, center, width))
    assert page.locator(".tools__windows option:not([hidden])").count() == 3


# Zoom and place -----------------------------------------------------------------------


def picture_box(page: Page) -> tuple[float, float, float]:
    """Return left, top and scale of the picture on the page, in CSS pixels."""
    found: list[float] = page.evaluate(
        """(selector) => {
          const canvas = document.querySelector(selector);
          const box = canvas.getBoundingClientRect();  // with its transform
          const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
          return [
            box.left + (box.width - canvas.width * scale) / 2,
            box.top + (box.height - canvas.height * scale) / 2,
            scale,
          ];
        }""",
        CANVAS,
    )
    left, top, scale = found
    return left, top, scale


def test_zooming_keeps_what_is_under_the_pointer(visit: Visit, study: str) -> None:
    page = visit.open_study(study)
    before = canvas_pixels(page)
    middle = middle_of(page, VIEWPORT)
    left, top, scale = picture_box(page)
    corner = page.locator(PICTURE)
    expect(corner).to_contain_text(f"Zoom {scale * 100:.0f} %")

    x, y = middle[0] + 100, middle[1] - 60
    image_point = ((x - left) / scale, (y - top) / scale)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    expect(corner).not_to_contain_text(f"Zoom {scale * 100:.0f} %")
    left, top, larger = picture_box(page)
    assert larger / scale == pytest.approx(np.exp(0.5), rel=1e-3)
    assert ((x - left) / larger, (y - top) / larger) == pytest.approx(image_point, abs=0.01)

    drag(page, 40, 25, "middle")
    assert picture_box(page) == pytest.approx((left + 40, top + 25, larger), abs=0.01)
    page.keyboard.press("p")
    drag(page, -40, -25)
    assert picture_box(page) == pytest.approx((left, top, larger), abs=0.01)
    page.keyboard.press("z")
    drag(page, 0, 50)
    assert picture_box(page)[2] < larger

    page.keyboard.press("a")
    expect(corner).to_contain_text("Zoom 100 %")
    assert picture_box(page)[2] == pytest.approx(1)
    page.keyboard.press("f")
    assert picture_box(page)[2] == pytest.approx(scale)
    drag(page, 3000, 0, "middle")  # it cannot be lost
    assert picture_box(page)[0] <= middle[0] + 1
    page.keyboard.press("r")
    assert picture_box(page)[2] == pytest.approx(scale)
    np.testing.assert_array_equal(canvas_pixels(page), before)


def test_two_fingers_zoom_and_one_uses_the_tool(
    browser: Browser, shared_node: RunningNode, study: str
) -> None:
    with visiting(browser, shared_node, (1024, 768), touch=True) as visit:
        page = visit.open_study(study)
        x, y = middle_of(page, VIEWPORT)
        touches = page.context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[float, float]) -> None:
            made = [{"x": a, "y": b, "id": index} for index, (a, b) in enumerate(points)]
            touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": made})

        scale = picture_box(page)[2]
        touch("touchStart", (x - 50, y))
        touch("touchStart", (x - 50, y), (x + 50, y))
        for apart in range(55, 105, 5):
            touch("touchMove", (x - apart, y), (x + apart, y))
        touch("touchEnd")
        page.wait_for_function(
            """([selector, fitted]) => {
              const { width } = document.querySelector(selector).getBoundingClientRect();
              return width > 1.9 * document.querySelector(".grid").clientWidth;
            }""",
            arg=[CANVAS, scale],
        )
        assert picture_box(page)[2] / scale == pytest.approx(2, rel=0.02)
        expect(page.locator(PICTURE)).to_contain_text("C 40 W 400")

        page.get_by_role("button", name="Scroll").tap()
        touch("touchStart", (x, y))
        for down in range(5, 60, 5):
            touch("touchMove", (x, y + down))
        touch("touchEnd")
        expect(page.locator("#position")).not_to_have_text(f"1 / {SLICES}")


# Films --------------------------------------------------------------------------------


def test_a_film_shows_every_frame_in_order_and_in_time(visit: Visit, film_study: str) -> None:
    page = visit.open_study(film_study)
    rate = page.locator('#transport [data-field="rate"]')
    expect(rate).to_have_text(f"{FRAMES_PER_SECOND} / s")  # not the 25 of its Frame Time
    assert page.locator(f"{VIEWPORT} .edge").all_inner_texts() == ["H", "P", "F", "A"]
    page.evaluate(
        """(selector) => {
          window.drawn = [];
          const canvas = document.querySelector(selector);
          const context = canvas.getContext("2d");
          const draw = context.drawImage.bind(context);
          const options = { willReadFrequently: true };
          const probe = new OffscreenCanvas(1, 1).getContext("2d", options);
          context.drawImage = (picture, ...place) => {
            draw(picture, ...place);
            probe.drawImage(canvas, 0, 0);
            window.drawn.push([performance.now(), probe.getImageData(0, 0, 1, 1).data[0] / 8]);
          };
        }""",
        CANVAS,
    )

    def played(frames: int) -> list[tuple[float, int]]:
        page.keyboard.press("Space")
        page.wait_for_function("count => window.drawn.length >= count", arg=frames)
        page.keyboard.press("Space")
        shown = [(moment, int(frame)) for moment, frame in page.evaluate("window.drawn")]
        page.evaluate("window.drawn.length = 0")
        assert all(b == (a + 1) % FRAMES for (_, a), (_, b) in pairwise(shown)), "in order"
        return shown

    def rate_of(shown: list[tuple[float, int]]) -> float:
        return (len(shown) - 1) / (shown[-1][0] - shown[0][0]) * 1000

    def is_in_time(frames: int, rate: float) -> bool:
        # Not always on a machine that has other work, which keeps a page from drawing.
        return rate_of(played(frames)) == pytest.approx(rate, rel=0.15)

    # A line that brings fewer frames than are due: the film waits for them, it skips none.
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    slow = {"offline": False, "latency": 800, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", slow)
    assert rate_of(played(FRAMES)) < 0.9 * FRAMES_PER_SECOND
    line.detach()
    played(FRAMES)
    wait_until(lambda: is_in_time(FRAMES + 5, FRAMES_PER_SECOND), what="it plays in time")
    page.keyboard.press(",")
    expect(rate).to_have_text("10 / s")
    page.keyboard.press(",")
    expect(rate).to_have_text("8 / s")
    wait_until(lambda: is_in_time(12, 8), what="it plays in time at another rate")
    rate.click()
    expect(rate).to_have_text(f"{FRAMES_PER_SECOND} / s")
    page.keyboard.press(".")
    expect(rate).to_have_text("15 / s")


# Attributes ---------------------------------------------------------------------------


def leaves(data_set: Dataset) -> Iterator[tuple[str, str]]:
    """Yield keyword and value, as text, of what a file has apart from its pixels."""
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                yield from leaves(item)
        elif element.keyword != "PixelData":
            values: list[Any] = list(element.value) if element.VM > 1 else [element.value]
            numeric = element.VR in {"DS", "IS", "US"}
            texts = [f"{float(value):g}" if numeric else str(value) for value in values]
            yield keyword_for_tag(element.tag), " \\ ".join(texts)


def test_attributes_are_those_of_the_file(visit: Visit, study: str, files: Path) -> None:
    page = visit.open_study(study)
    page.keyboard.press("m")
    rows = page.locator("#metadata tbody tr")
    expect(rows.filter(has_text="SOPInstanceUID")).to_contain_text(uid("viewer", "scout", 1))
    shown = {
        row["name"]: row["value"]
        for row in page.evaluate(
            """() => [...document.querySelectorAll("#metadata tbody tr")].map((row) => ({
              name: row.cells[0].firstChild.textContent,
              value: row.cells[1].textContent,
            }))"""
        )
    }
    expected = dict(leaves(dcmread(files / "scout" / "1.dcm")))
    assert len(expected) > 25
    assert {name: shown.get(name) for name in expected} == expected
    assert "PixelData" in shown

    # Typing goes to the search, which looks at keyword, tag and value.
    page.keyboard.type("0028,1050")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("40 \\ -500")
    page.get_by_label("Search attributes").fill("window wide")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("WindowCenterWidthExplanation")
    page.get_by_label("Search attributes").fill("sopinstanceuid")
    page.locator(VIEWPORT).hover()
    page.mouse.wheel(0, 100)  # it follows the picture
    expect(rows).to_contain_text(uid("viewer", "scout", 2))
    page.keyboard.press("Escape")
    expect(page.locator("#metadata")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#position")).to_have_text(f"3 / {SLICES}")


def test_attributes_that_do_not_come_say_so(visit: Visit, study: str) -> None:
    answer = {"success": False, "error": {"code": "temporary", "message": "busy"}}
    visit.page.route("**/metadata", lambda route: route.fulfill(status=503, json=answer))
    page = visit.open_study(study)
    page.keyboard.press("m")
    state = page.locator("#metadata [role=status]")
    expect(state).to_contain_text("The attributes did not come. Busy.")
    page.unroute("**/metadata")
    page.locator(VIEWPORT).hover()
    page.mouse.wheel(0, 100)
    expect(state).to_contain_text(re.compile(r"\d+ attributes"))
    assert all("503" in problem for problem in visit.problems)
    visit.problems.clear()


# Faults -------------------------------------------------------------------------------


def test_a_node_that_is_away_leaves_the_picture_and_says_so(visit: Visit, study: str) -> None:
    page = visit.open_study(study, query="?layout=2x1")
    expect_series(page, 2, "soft")
    page.route("**/api/**", lambda route: route.abort())
    page.keyboard.press("3")  # a window that the node has to draw
    blank = page.locator(f"{VIEWPORT} .viewport__blank")
    expect(blank).to_contain_text("This image did not arrive")
    notice = page.locator("#viewer-notice")
    expect(notice).to_contain_text("What is on the screen stays")
    expect(notice).to_be_in_viewport(ratio=1)
    expect(page.locator(f'{VIEWPORT} [data-corner="patient"]')).to_contain_text("TEST-viewer")
    expect_series(page, 2, "soft")
    page.unroute("**/api/**")  # it comes back by itself
    expect(blank).to_be_hidden()
    expect(notice).to_be_hidden()
    np.testing.assert_array_equal(canvas_pixels(page), windowed(stored("scout", 1), 480, 2500))
    assert all("ERR_FAILED" in problem for problem in visit.problems)
    visit.problems.clear()


def test_a_frame_that_cannot_be_drawn_leaves_the_others_alone(visit: Visit, study: str) -> None:
    def refuse(route: Route) -> None:
        message = "instance 1.2.3: the decoder crashed"
        error = {"success": False, "error": {"code": "undecodable", "message": message}}
        route.fulfill(status=415, json=error)

    visit.page.route(re.compile("/frames/1($|[?])"), refuse)
    page = visit.open_study(study)
    page.keyboard.press("ArrowDown")
    blank = page.locator(".viewport__blank")
    expect(blank).to_contain_text("This image is damaged")
    expect(blank).to_contain_text("decoder crashed")
    page.keyboard.press("ArrowDown")
    expect_series(page, 1, "scout", 3)
    expect(blank).to_be_hidden()
    assert all("415" in problem for problem in visit.problems)
    visit.problems.clear()


# The page around it -------------------------------------------------------------------


def test_keys_are_explained_and_choose_the_tool(visit: Visit, study: str) -> None:
    page = visit.open_study(study)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys and mouse")
    expect(dialog).to_contain_text("mediastinum")
    page.keyboard.press("ArrowDown")  # keys rest while one reads
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#position")).to_have_text(f"1 / {SLICES}")
    tools = page.get_by_role("group", name="Mouse and finger")
    for key, name in {"z": "Zoom", "p": "Move", "s": "Scroll", "w": "Window"}.items():
        page.keyboard.press(key)
        expect(tools.locator('[aria-pressed="true"]')).to_have_attribute("aria-label", name)


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768)])
def test_everything_has_its_place_on_a_small_screen(
    browser: Browser, shared_node: RunningNode, study: str, size: tuple[int, int]
) -> None:
    with visiting(browser, shared_node, size) as visit:
        visit.page.add_init_script(
            """window.shifts = 0;
            new PerformanceObserver((list) => {
              for (const entry of list.getEntries()) window.shifts += entry.value;
            }).observe({ type: "layout-shift", buffered: true });"""
        )
        page = visit.open_study(study)
        page.keyboard.press("End")
        wait_for_image(page, SLICES - 1)
        assert page.evaluate("window.shifts") < 0.01
        outside = page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, a")]
              .filter((one) => one.checkVisibility() && !one.matches(".skip-link, .rail *"))
              .filter((one) => {
                const { left, right, top, bottom } = one.getBoundingClientRect();
                return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
              })
              .map((one) => one.outerHTML)"""
        )
        assert outside == []
        page.keyboard.press("m")
        expect(page.locator("#metadata tbody tr").first).to_be_visible()


def test_edges_are_named_as_the_patient_lies(visit: Visit, study: str) -> None:
    page = visit.open_study(study)
    assert page.locator(f"{VIEWPORT} .edge").all_inner_texts() == ["A", "L", "P", "R"]
    letters = page.evaluate(
        """async () => {
          const { edgeLetters } = await import("/static/js/viewer/orientation.js");
          return {
            coronal: edgeLetters([1, 0, 0, 0, 0, -1]),
            sagittal: edgeLetters([0, 1, 0, 0, 0, -1]),
            oblique: edgeLetters([0.8, 0.6, 0, 0, 0, -1]),
            projection: edgeLetters([], ["L", "F"]),
            animal: edgeLetters([], ["LE", "V"]),
            unknown: edgeLetters([]),
          };
        }"""
    )
    assert letters == {
        "coronal": {"top": "H", "right": "L", "bottom": "F", "left": "R"},
        "sagittal": {"top": "H", "right": "P", "bottom": "F", "left": "A"},
        "oblique": {"top": "H", "right": "LP", "bottom": "F", "left": "RA"},
        "projection": {"top": "H", "right": "L", "bottom": "F", "left": "R"},
        "animal": None,
        "unknown": None,
    }


def test_ohif_is_linked_where_it_is_installed(visit: Visit, study: str) -> None:
    visit.page.route("**/ohif/", lambda route: route.fulfill(status=200))
    page = visit.goto("#/?search=TEST-viewer")
    row = page.locator(f'tr[data-study-uid="{study}"]')
    address = f"ohif/viewer?StudyInstanceUIDs={study}"
    expect(row.get_by_role("link", name="OHIF")).to_have_attribute("href", address)
    row.locator(".study__link").click()
    wait_for_image(page, 0)
    link = page.locator("#viewer-heading").get_by_role("link", name="OHIF")
    expect(link).to_have_attribute("href", address)


def test_text_can_be_read_in_the_dark(visit: Visit) -> None:
    """WCAG 2.2 1.4.3: 4.5 to 1 for every colour of text on every ground there is."""
    grounds = ("ground", "surface", "raised")
    texts = ("text", "text-soft", "text-faint", "accent-strong", "warn", "bad")
    page = visit.goto()
    colours = page.evaluate(
        """(names) => {
          const style = getComputedStyle(document.documentElement);
          return Object.fromEntries(
            names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
        }""",
        [*grounds, *texts],
    )

    def luminance(colour: str) -> float:
        digits = colour.strip().removeprefix("#")
        return luminance_of(int(digits[i : i + 2], 16) for i in (0, 2, 4))

    for ground in grounds:
        for text in texts:
            lighter, darker = luminance(colours[text]), luminance(colours[ground])
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


def test_text_over_a_picture_can_be_read_on_white(visit: Visit, study: str) -> None:
    """The letters that tell left from right above all, on bone and on an inverted lung."""
    page = visit.open_study(study)
    colours = page.evaluate(
        """() => [...document.querySelectorAll(".edge, .corner > *")]
          .filter((one) => one.checkVisibility())
          .map((one) => getComputedStyle(one))
          .map(({ color, backgroundColor }) => [color, backgroundColor].map(
            (colour) => colour.match(/[\\d.]+/g).map(Number)))"""
    )
    assert len(colours) > 8
    for (red, green, blue), ground in colours:
        *parts, opacity = ground if len(ground) == 4 else [*ground, 1]
        behind = luminance_of(part * opacity + 255 * (1 - opacity) for part in parts)
        assert (luminance_of((red, green, blue)) + 0.05) / (behind + 0.05) >= 4.5


def luminance_of(colour: Iterable[float]) -> float:
    """Return the relative luminance of red, green and blue from 0 to 255 (WCAG 2.2)."""
    parts = np.array(list(colour)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
