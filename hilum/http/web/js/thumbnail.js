// Small pictures of frames. The browser loads them as they come into view.
import { find } from "./dom.js";

/** Twice the size they are shown at, for screens with fine pixels. */
const SIZES = { list: 128, rail: 256 };

/** Show `url` in a `.thumbnail`, or a document's outline where there is no picture. */
export function showThumbnail(thumbnail, url) {
  const image = find("img", thumbnail);
  if (!url) {
    thumbnail.dataset.state = "none";
    return;
  }
  if (image.getAttribute("src") === url) return;
  const become = (state) => {
    thumbnail.dataset.state = state;
  };
  become("loading");
  image.onload = () => become("shown");
  image.onerror = () => become("none");
  image.src = url;
}

export const thumbnailSize = (place) => ({ size: SIZES[place] });
