// Below the picture: where one is in the series, and playing it.
import { find, setText } from "../dom.js";

export class Transport {
  #root;
  #slider;
  #position;
  #button;

  /** @param on - `seek(position)` counted from 0, `toggle()`. */
  constructor(root, on) {
    this.#root = root;
    this.#slider = find("input", root);
    this.#position = find("output", root);
    this.#button = find("button", root);
    this.#slider.addEventListener("input", () => on.seek(Number(this.#slider.value) - 1));
    this.#button.addEventListener("click", () => on.toggle());
  }

  /** Fit the slider to a series of `length` frames. */
  show(length) {
    const alone = length < 2;
    this.#slider.max = String(Math.max(length, 1));
    this.#slider.disabled = alone;
    this.#button.disabled = alone;
    if (length === 0) setText(this.#position, "");
  }

  showPosition(position, length) {
    const text = `${position + 1} / ${length}`;
    this.#slider.value = String(position + 1);
    this.#slider.setAttribute("aria-valuetext", `Image ${position + 1} of ${length}`);
    setText(this.#position, text);
  }

  showPlaying(framesPerSecond) {
    this.#root.toggleAttribute("data-playing", true);
    const rate = Number(framesPerSecond.toFixed(1));
    this.#label("Pause", `Pause (space), ${rate} images a second`);
  }

  showPaused() {
    if (!this.#root.hasAttribute("data-playing")) return;
    this.#root.removeAttribute("data-playing");
    this.#label("Play", "Play or pause (space)");
  }

  #label(name, title) {
    this.#button.setAttribute("aria-label", name);
    this.#button.title = title;
  }
}
