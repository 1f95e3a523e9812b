// Mouse, pen, fingers and wheel on the picture, as what they mean.

/** A notch of a wheel is 100 to 120 px; a trackpad sends many small ones. */
const WHEEL_PIXELS_PER_IMAGE = 60;
const LINE_PIXELS = 40;
const WHEEL_ZOOM_PER_PIXEL = 0.0025;
const DRAG_ZOOM_PER_PIXEL = 0.006;
/** A drag over the height of the viewport goes through a series, but never this slowly. */
const FEWEST_PIXELS_PER_IMAGE = 4;
const MOST_PIXELS_PER_IMAGE = 24;
const BUTTON = { main: 0, middle: 1, right: 2 };

/**
 * Watch a viewport's canvas and call `on`:
 * `tool()`, which is to say what the main button does ("window", "zoom", "pan", "scroll"),
 * `length()`, the number of images one scrolls through,
 * `press()`, `window(right, down)`, `windowEnd()`, `move(right, down)`, `scroll(images)`,
 * `zoom(factor, x, y)`, `double()`.
 */
export function watchPointer(canvas, viewport, on) {
  watchDrags(canvas, viewport, on);
  watchWheel(canvas, viewport, on);
  canvas.addEventListener("dblclick", () => on.double());
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
}

function watchDrags(canvas, viewport, on) {
  /** Pointers that are down, by their id: their latest event. */
  const down = new Map();
  let drag = null;

  const place = ({ clientX, clientY }) => {
    const box = viewport.getBoundingClientRect();
    return [clientX - box.left, clientY - box.top];
  };
  const stop = () => {
    if (drag?.tool === "window") on.windowEnd();
    drag = null;
    viewport.dataset.tool = "";
  };

  canvas.addEventListener("pointerdown", (event) => {
    on.press();
    if (event.button === BUTTON.middle) event.preventDefault(); // no autoscroll
    if (down.size && event.pointerType !== "touch") return;
    down.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
    stop(); // a second finger makes it a pinch
    if (down.size > 1) return;
    const tool = toolFor(event, on.tool());
    drag = { tool, start: place(event), travelled: 0 };
    viewport.dataset.tool = tool;
  });

  canvas.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const right = event.clientX - last.clientX;
    const below = event.clientY - last.clientY;
    if (!right && !below) return;
    if (down.size === 2) pinch(down, event, on, place);
    down.set(event.pointerId, event);
    if (drag) act(drag, right, below, on, viewport);
  });

  const end = (event) => {
    if (!down.delete(event.pointerId)) return;
    stop(); // the finger that is left does nothing until it is lifted
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}

function toolFor(event, chosen) {
  if (event.button === BUTTON.right) return "window";
  if (event.button === BUTTON.middle || event.shiftKey) return "pan";
  return chosen;
}

function act(drag, right, below, on, viewport) {
  if (drag.tool === "window") on.window(right, below);
  else if (drag.tool === "pan") on.move(right, below);
  else if (drag.tool === "zoom") on.zoom(Math.exp(-below * DRAG_ZOOM_PER_PIXEL), ...drag.start);
  else {
    const perImage = viewport.clientHeight / Math.max(on.length(), 1);
    const pixels = Math.min(Math.max(perImage, FEWEST_PIXELS_PER_IMAGE), MOST_PIXELS_PER_IMAGE);
    drag.travelled += below;
    const images = Math.trunc(drag.travelled / pixels);
    drag.travelled -= images * pixels;
    if (images) on.scroll(images);
  }
}

/** Two fingers: apart is larger, together they move the picture. */
function pinch(down, event, on, place) {
  const [other] = [...down.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
  const last = down.get(event.pointerId);
  const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  const [x, y] = place(event);
  const [otherX, otherY] = place(other);
  on.move((event.clientX - last.clientX) / 2, (event.clientY - last.clientY) / 2);
  const before = distance(last);
  if (before > 0) on.zoom(distance(event) / before, (x + otherX) / 2, (y + otherY) / 2);
}

function watchWheel(canvas, viewport, on) {
  let travelled = 0;

  const wheel = (event) => {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE_PIXELS;
    const distance = event.deltaY * unit;
    if (event.ctrlKey || event.metaKey) {
      const box = viewport.getBoundingClientRect();
      const factor = Math.exp(-distance * WHEEL_ZOOM_PER_PIXEL);
      on.zoom(factor, event.clientX - box.left, event.clientY - box.top);
      return;
    }
    on.press();
    if (Math.sign(distance) !== Math.sign(travelled)) travelled = 0;
    travelled += distance;
    const images = Math.trunc(travelled / WHEEL_PIXELS_PER_IMAGE);
    travelled -= images * WHEEL_PIXELS_PER_IMAGE;
    if (images) on.scroll(Math.abs(distance) >= 100 ? Math.sign(images) : images);
  };
  canvas.addEventListener("wheel", wheel, { passive: false });
}
