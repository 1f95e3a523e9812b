// Mouse, pen and wheel on the picture, as what they mean.

/** A notch of a wheel is 100 to 120 px; a trackpad sends many small ones. */
const WHEEL_PIXELS_PER_IMAGE = 60;
const LINE_PIXELS = 40;
const ZOOM_PER_PIXEL = 0.0025;

/**
 * Watch `canvas` and call `on`:
 * `window(right, down)`, `windowEnd()`, `move(right, down)`, `scroll(images)`,
 * `zoom(factor, x, y)`, `reset()`.
 */
export function watchPointer(canvas, viewport, on) {
  watchDrags(canvas, viewport, on);
  watchWheel(canvas, viewport, on);
  canvas.addEventListener("dblclick", () => on.reset());
}

function watchDrags(canvas, viewport, on) {
  let last = null;
  let tool = "";

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 2 || last) return;
    tool = event.button === 1 || event.shiftKey ? "move" : "window";
    viewport.dataset.tool = tool;
    last = event;
    canvas.setPointerCapture(event.pointerId);
    if (event.button === 1) event.preventDefault(); // no autoscroll
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== last?.pointerId) return;
    const [right, down] = [event.clientX - last.clientX, event.clientY - last.clientY];
    last = event;
    if (right || down) on[tool](right, down);
  });
  const end = (event) => {
    if (event.pointerId !== last?.pointerId) return;
    last = null;
    viewport.dataset.tool = "";
    if (tool === "window") on.windowEnd();
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}

function watchWheel(canvas, viewport, on) {
  let travelled = 0;

  const wheel = (event) => {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE_PIXELS;
    const distance = event.deltaY * unit;
    if (event.ctrlKey || event.metaKey) {
      const box = viewport.getBoundingClientRect();
      const factor = Math.exp(-distance * ZOOM_PER_PIXEL);
      on.zoom(factor, event.clientX - box.left, event.clientY - box.top);
      return;
    }
    if (Math.sign(distance) !== Math.sign(travelled)) travelled = 0;
    travelled += distance;
    const images = Math.trunc(travelled / WHEEL_PIXELS_PER_IMAGE);
    travelled -= images * WHEEL_PIXELS_PER_IMAGE;
    if (images) on.scroll(Math.abs(distance) >= 100 ? Math.sign(images) : images);
  };
  canvas.addEventListener("wheel", wheel, { passive: false });
}
