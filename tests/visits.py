"""The web page in a real Chromium, for tests of it.

While a page is open, any error on its console and any request that fails, fails the test.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from tests.nodes import RunningNode

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",  # root in a container has no other choice
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
VIEWPORT = '.viewport[aria-current="true"]'
#: Of the viewport that keys and tools act on.
CANVAS = f"{VIEWPORT} canvas"
#: The page asks whether OHIF is there; that it is not is an answer too.
_QUESTION = "/ohif/"


@dataclass
class Visit:
    """A page, and what went wrong in it so far."""

    page: Page
    node: RunningNode
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def _console(self, message: ConsoleMessage) -> None:
        if message.location.get("url", "").endswith(_QUESTION):
            return
        if message.type in {"error", "warning"}:
            self.problems.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # The page gives up requests for frames nobody waits for any more.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"request: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and not response.url.endswith(_QUESTION):
            self.problems.append(f"response: {response.status} {response.url}")

    def goto(self, fragment: str = "#/") -> Page:
        self.page.goto(f"{self.node.http_url}/{fragment}")
        return self.page

    def open_study(self, study_uid: str, position: int = 0, query: str = "") -> Page:
        page = self.goto(f"#/studies/{study_uid}{query}")
        wait_for_image(page, position)
        return page


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def visiting(
    browser: Browser, node: RunningNode, size: tuple[int, int] = (1440, 900), *, touch: bool = False
) -> Iterator[Visit]:
    """Open a page on a node; the visit must end without a problem."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, has_touch=touch)
    visit = Visit(page, node)
    visit.watch()
    yield visit
    page.close()
    assert visit.problems == []


def wait_for_image(page: Page, position: int) -> None:
    """Wait until the active canvas shows its series' image at `position`, counted from 0."""
    expect(page.locator(f'{CANVAS}[data-ready="true"][data-position="{position}"]')).to_be_visible()


def canvas_pixels(page: Page, selector: str = CANVAS) -> NDArray[np.uint8]:
    """Return the grey values on a canvas, ``(rows, columns)``."""
    width, height, data = page.evaluate(
        """(selector) => {
          const canvas = document.querySelector(selector);
          const { width, height } = canvas;
          // Read from a copy: Chromium warns of pages that read their own canvas often.
          const copy = new OffscreenCanvas(width, height).getContext("2d");
          copy.drawImage(canvas, 0, 0);
          const { data } = copy.getImageData(0, 0, width, height);
          let text = "";
          for (let i = 0; i < data.length; i += 4096) {
            text += String.fromCharCode(...data.subarray(i, i + 4096));
          }
          return [width, height, btoa(text)];
        }""",
        selector,
    )
    pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    assert (pixels[..., 3] == 255).all()
    assert (pixels[..., :1] == pixels[..., :3]).all(), "not grey"
    return pixels[..., 0]


def windowed(stored: NDArray[Any], center: float, width: float) -> NDArray[np.uint8]:
    """Return CT slices of `generated.ct` through a linear window (PS3.3 C.11.2.1.2)."""
    values = stored.astype(np.float64) - 1024
    y = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.floor(np.clip(y, 0, 255) + 0.5).astype(np.uint8)


def middle_of(page: Page, selector: str) -> tuple[float, float]:
    """Return where the middle of an element is on the page."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(
    page: Page, right: int, down: int, button: Literal["left", "middle", "right"] = "left"
) -> None:
    """Drag across the middle of the active viewport, in steps as a hand does."""
    x, y = middle_of(page, VIEWPORT)
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + right, y + down, steps=8)
    page.mouse.up(button=button)
