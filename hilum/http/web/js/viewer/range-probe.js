// The range of values in a frame whose file names no window. Pictures are 8 bits deep, so it
// is closed in upon: each round looks through a window around what the last one found.
import { fetchFrame } from "../api.js";

/** Wider than any 16-bit image reaches, rescaled or not. */
const WIDEST = { center: 0, width: 1 << 18 };
const ROUNDS = 6;
/** Grey levels the range is to cover in the end: it is then known to about a percent. */
const ENOUGH_LEVELS = 96;
const GREYS = 255;

/**
 * The window that spans a frame's values, as the node's own choice does.
 *
 * @param urlFor - `({center, width, size})` to the frame's address.
 * @param inverse - whether the lowest value is shown white (MONOCHROME1).
 */
export async function probeRange(urlFor, inverse) {
  let window = WIDEST;
  for (let round = 0; round < ROUNDS; round += 1) {
    const greys = await greyRange(urlFor({ ...window, size: 128 }));
    const [low, high] = inverse ? [GREYS - greys[1], GREYS - greys[0]] : greys;
    const step = window.width / GREYS;
    const bottom = window.center - window.width / 2;
    const found = { low: bottom + low * step, high: bottom + high * step };
    if (high - low >= ENOUGH_LEVELS || window.width <= 1) return spanning(found, 0);
    window = spanning(found, step);
  }
  return window;
}

function spanning({ low, high }, margin) {
  const width = Math.max(high - low + 2 * margin, 1);
  return { center: (low + high) / 2, width };
}

async function greyRange(url) {
  const picture = await fetchFrame(url);
  const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, picture.width, picture.height);
  picture.close();
  let [low, high] = [GREYS, 0];
  for (let index = 0; index < data.length; index += 4) {
    low = Math.min(low, data[index]);
    high = Math.max(high, data[index]);
  }
  return [low, high];
}
