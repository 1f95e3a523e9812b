"""The OHIF viewer, as its authors build it, in a real Chromium on a real node.

It is obtained as anybody would, by ``hilum ohif install``, once for all runs.
"""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)
from pydicom import dcmread
from pydicom.uid import XRayAngiographicImageStorage

from hilum.cli.ohif_package import PINNED
from tests import dcmtk, visits
from tests.corpus import pydicom_files
from tests.generated import ct, save, uid
from tests.nodes import RunningNode, running

#: OHIF draws with WebGL, which here is Chromium's own, on the processor.
ARGUMENTS = (
    *(argument for argument in visits.ARGUMENTS if argument != "--disable-gpu"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hilum-tests"
CANVAS = "canvas.cornerstone-canvas"
READ_CANVAS = """() => {
  const canvas = document.querySelector("canvas.cornerstone-canvas");
  if (!canvas?.width || !canvas.height) return [0, 0, ""];
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d");
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  let text = "";
  for (let i = 0; i < data.length; i += 4096) {
    text += String.fromCharCode(...data.subarray(i, i + 4096));
  }
  return [width, height, btoa(text)];
}"""
SLICES = 5
FRAMES = 8
SIZE = 128

#: The first test may have 50 MB to fetch, and a browser has 17 MB of script to understand.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ohif() -> Path:
    """Return the folder with OHIF's files."""
    folder = CACHE / f"ohif-{PINNED.version}"
    command = [sys.executable, "-m", "hilum", "ohif", "install", "--folder", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    if ran.returncode and "npm cannot fetch" in ran.stderr and not os.environ.get("CI"):
        pytest.skip(f"the npm registry is out of reach: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def node(ohif: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node that has OHIF, a CT series and a film."""
    folder = tmp_path_factory.mktemp("ohif")
    (folder / "files").mkdir()
    for number in range(1, SLICES + 1):
        slice_ = ct(
            number,
            study="ohif-ct",
            size=SIZE,
            PixelData=pattern(number).tobytes(),
            PixelSpacing=[1, 1],
            SliceThickness=2,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 2 * number],
            FrameOfReferenceUID=uid("ohif-ct", "frame"),
            WindowCenter=1024,
            WindowWidth=4096,
        )
        save(slice_, folder / "files" / f"{number}.dcm")
    film = ct(
        study="ohif-film",
        size=SIZE,
        SOPClassUID=XRayAngiographicImageStorage,
        Modality="XA",
        NumberOfFrames=FRAMES,
        FrameTime=100,
        FrameIncrementPointer=0x00181063,
        PixelData=b"".join(pattern(frame).tobytes() for frame in range(FRAMES)),
        WindowCenter=1024,
        WindowWidth=4096,
    )
    film.file_meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    save(film, folder / "files" / "film.dcm")
    with running(folder / "node", HILUM_HTTP_OHIF_FOLDER=str(ohif)) as node:
        sent = dcmtk.storescu(node.peer, "+sd", folder / "files")
        assert len(sent.acknowledged) == SLICES + 1
        yield node


def pattern(seed: int) -> NDArray[np.uint16]:
    """Return pixels with every grey in them, and none like another picture's."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return ((rows * 16 + columns * (seed + 3) * 7) % 4096).astype("<u2")


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """One browser whose pages share what they have loaded of the viewer."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=visits.CHROMIUM, args=list(ARGUMENTS))
        yield browser.new_context(viewport={"width": 1024, "height": 700})
        browser.close()


@dataclass
class Visit:
    """A page with OHIF in it, and what went wrong there so far."""

    page: Page
    node: RunningNode
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":  # of its own affairs it warns often
            self.problems.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # The viewer gives up requests for what has been scrolled past.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"request: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"response: {response.status} {response.url}")

    def open(self, study_uid: str) -> NDArray[np.uint8]:
        """Open a study in the viewer; return what its viewport shows as soon as it does."""
        self.page.goto(f"{self.node.http_url}/ohif/viewer?StudyInstanceUIDs={study_uid}")
        return self.shown(lambda picture: len(np.unique(picture)) > 20)

    def shown(self, condition: Callable[[NDArray[np.uint8]], object]) -> NDArray[np.uint8]:
        """Return what the viewport shows, ``(rows, columns, 3)``, once that meets `condition`."""
        deadline = time.monotonic() + 45
        while True:
            picture = self._picture()
            if picture.size and condition(picture):
                return picture
            if self.problems or time.monotonic() > deadline:
                raise AssertionError(f"no such picture; {self.problems}")
            self.page.wait_for_timeout(100)  # lets the page work, and its events come

    def _picture(self) -> NDArray[np.uint8]:
        width, height, data = self.page.evaluate(READ_CANVAS)
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


@pytest.fixture
def visit(context: BrowserContext, node: RunningNode) -> Iterator[Visit]:
    """A visit that must end without an error on the console and with no request failed."""
    visit = Visit(context.new_page(), node)
    visit.watch()
    yield visit
    problems = list(visit.problems)  # leaving gives up requests
    visit.page.close()
    assert problems == []


def test_a_ct_series_is_shown_and_scrolled_through(visit: Visit) -> None:
    first = visit.open(uid("ohif-ct"))
    assert is_grey(first)
    assert len(np.unique(first)) > 100
    box = visit.page.locator(CANVAS).bounding_box()
    assert box is not None
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.page.mouse.wheel(0, 100)
    second = visit.shown(lambda picture: differs(picture, first))
    visit.page.mouse.wheel(0, -100)
    visit.shown(lambda picture: differs(picture, second) and not differs(picture, first))
    expect(visit.page.get_by_text("Generated").first).to_be_visible()


def test_a_film_is_shown_and_plays(visit: Visit) -> None:
    picture = visit.open(uid("ohif-film"))
    assert is_grey(picture)
    visit.page.keyboard.press("c")  # OHIF's key for its player
    visit.page.locator('[data-cy="cine-player-play-pause"]').dispatch_event("click")
    seen = [picture]
    while len(seen) < 4:
        seen.append(visit.shown(lambda picture: all(differs(picture, each) for each in seen)))


def test_a_compressed_image_is_decoded_and_shown(visit: Visit) -> None:
    picture = visit.open(upload(visit.node, "693_J2KI.dcm"))
    assert is_grey(picture)
    assert len(np.unique(picture)) > 100


def test_a_colour_image_is_shown_in_colour(visit: Visit) -> None:
    picture = visit.open(upload(visit.node, "SC_rgb_jpeg_dcmtk.dcm"))
    assert not is_grey(picture)


def test_the_list_has_the_studies(visit: Visit) -> None:
    visit.page.goto(f"{visit.node.http_url}/ohif")
    expect(visit.page.get_by_text("Test, ohif-ct")).to_be_visible(timeout=30_000)
    expect(visit.page.get_by_text("Test, ohif-film")).to_be_visible()


def upload(node: RunningNode, name: str) -> str:
    """Store one of pydicom's files; return its Study Instance UID."""
    path = next(path for path in pydicom_files() if path.name == name)
    url = f"{node.http_url}/api/dicom/upload"
    requests.post(url, files={"file": path.read_bytes()}, timeout=30).raise_for_status()
    return str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)


def is_grey(picture: NDArray[np.uint8]) -> bool:
    """Return whether it has no colour but that of a few marks on it."""
    spread = picture.max(axis=-1).astype(int) - picture.min(axis=-1)
    return bool((spread > 24).mean() < 0.01)


def differs(picture: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return picture.shape != other.shape or bool((picture != other).mean() > 0.05)
