// The window (PS3.3 C.11.2): which stored values become which grey. The node applies it;
// here it is kept, chosen, dragged and put into words.
import { windowText } from "../format.js";

/** A drag over this many CSS pixels moves or widens a window by its own width. */
const PIXELS_PER_WIDTH = 400;
/** A narrow window still widens at a tolerable pace. */
const SLOWEST_STEP = 0.02;
/** Narrowest window PS3.3 C.11.2.1.2 allows for the linear function. */
const NARROWEST = 1;
/** Each image's first window of its own, or what the node makes of one that has none. */
const OWN = { own: 0 };

export class WindowLevel {
  /** Where dragging starts on images that bring no window: to be found out first. */
  range = null;
  /** `{own: n}`, each image's n-th, or `{center, width}`. */
  #chosen = OWN;

  get chosen() {
    return this.#chosen;
  }

  choose(window) {
    this.#chosen = window;
  }

  reset() {
    this.#chosen = OWN;
  }

  /** Query parameters that make the node render an image with this window. */
  parametersFor(instance) {
    if (this.#chosen.own === 0) return {}; // may be a LUT or another function than linear
    const values = this.valuesFor(instance);
    return values ? { center: values.center, width: values.width } : {};
  }

  /**
   * Move by a drag's distance in CSS pixels: right is wider, down is darker.
   *
   * @returns whether there was a window to move: if not, `range` is missing.
   */
  drag(right, down, instance) {
    const now = this.valuesFor(instance) ?? this.range;
    if (!now) return false;
    const { center, width } = now;
    const step = Math.max(width / PIXELS_PER_WIDTH, SLOWEST_STEP);
    this.#chosen = {
      center: rounded(center + down * step, width),
      width: Math.max(rounded(width + right * step, width), NARROWEST),
    };
    return true;
  }

  /** The window an image is seen through; `null` if the node chooses one. */
  valuesFor(instance) {
    if (this.#chosen.own === undefined) return this.#chosen;
    const { windows } = instance;
    const window = windows[this.#chosen.own] ?? windows[0];
    return window && window.width >= NARROWEST ? window : null;
  }

  textFor(instance) {
    const values = this.valuesFor(instance);
    return values ? windowText(values) : "Window automatic";
  }
}

/** Whether a window means anything: colour has none (PS3.3 C.11.2.1). */
export const hasWindow = (instance) =>
  (instance.photometricInterpretation || "MONOCHROME2").startsWith("MONOCHROME");

/** Keep a drag's values to what an eye can tell: about a thousandth of the width. */
function rounded(value, width) {
  const digits = width >= 100 ? 1 : width >= 10 ? 2 : 4;
  return Number(value.toFixed(digits));
}
