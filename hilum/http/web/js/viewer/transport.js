// Below the pictures: where one is in the active viewport's series, and playing it.
import { field, find, setText } from "../dom.js";

export class Transport {
  #root;
  #slider;
  #position;
  #button;
  #rate;

  /** @param on - `seek(position)` counted from 0, `toggle()`, `faster(step)`, `fileRate()`. */
  constructor(root, on) {
    this.#root = root;
    this.#slider = find("input", root);
    this.#position = find("#position", root);
    this.#button = find('[data-action="play"]', root);
    this.#rate = field(root, "rate");
    this.#slider.addEventListener("input", () => on.seek(Number(this.#slider.value) - 1));
    this.#button.addEventListener("click", () => on.toggle());
    this.#rate.addEventListener("click", () => on.fileRate());
    find('[data-action="slower"]', root).addEventListener("click", () => on.faster(-1));
    find('[data-action="faster"]', root).addEventListener("click", () => on.faster(1));
  }

  /** Show where a viewport is. */
  show({ length, position, playing, rate, fileRate }) {
    const alone = length < 2;
    this.#slider.max = String(Math.max(length, 1));
    this.#slider.disabled = alone;
    this.#slider.value = String(position + 1);
    this.#slider.setAttribute("aria-valuetext", `Image ${position + 1} of ${length}`);
    for (const button of this.#root.querySelectorAll("button")) button.disabled = alone;
    setText(this.#position, length ? `${position + 1} / ${length}` : "");
    this.#showPlaying(playing, rate);
    this.#showRate(rate, fileRate);
  }

  #showPlaying(playing, rate) {
    this.#root.toggleAttribute("data-playing", playing);
    this.#button.setAttribute("aria-label", playing ? "Pause" : "Play");
    const title = playing
      ? `Pause (space), ${rounded(rate)} images a second`
      : "Play or pause (space)";
    if (this.#button.title !== title) this.#button.title = title;
  }

  #showRate(rate, fileRate) {
    setText(this.#rate, `${rounded(rate)} / s`);
    this.#rate.toggleAttribute("data-changed", rate !== fileRate);
    const title = `${rounded(rate)} images a second; back to ${rounded(fileRate)}`;
    if (this.#rate.title !== title) this.#rate.title = title;
  }
}

const rounded = (rate) => Number(rate.toFixed(1));
