// The canvas: holds the frame pixel for pixel. The style sheet fits it to its viewport, and
// a transform enlarges and moves it; no pixel is resampled in script.

const LARGEST_SCALE = 32;
const SMALLEST_ZOOM = 0.2;

export class Display {
  #canvas;
  #context;
  #inverted = false;
  /** Enlargement over the fitted picture. */
  #zoom = 1;
  /** Of the picture's middle from the viewport's, in parts of the picture as it is shown. */
  #offset = { x: 0, y: 0 };

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
  }

  /** Draw a frame in place of the one before, which stands until this very moment. */
  draw(picture) {
    const canvas = this.#canvas;
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
      this.#place();
    }
    this.#context.drawImage(picture, 0, 0);
    if (this.#inverted) this.#invert();
  }

  /** Show nothing: no pixel of one patient may stand under another's name. */
  clear() {
    this.#canvas.width = 1;
    this.#canvas.height = 1;
    this.fit();
  }

  get inverted() {
    return this.#inverted;
  }

  set inverted(inverted) {
    if (inverted === this.#inverted) return;
    this.#inverted = inverted;
    this.#invert();
  }

  /** Each value v becomes 255 - v, exactly; doing it twice undoes it. */
  #invert() {
    const { width, height } = this.#canvas;
    this.#context.globalCompositeOperation = "difference";
    this.#context.fillStyle = "#fff";
    this.#context.fillRect(0, 0, width, height);
    this.#context.globalCompositeOperation = "source-over";
  }

  /** Pixels of the screen that a pixel of the image takes: 1 is actual size. */
  get scale() {
    return this.#fitted * this.#zoom * devicePixelRatio;
  }

  /** CSS pixels that a pixel of the fitted picture takes. */
  get #fitted() {
    const { width, height, clientWidth, clientHeight } = this.#canvas;
    return Math.min(clientWidth / width, clientHeight / height);
  }

  /** Zoom about a point of the viewport, in CSS pixels from its corner. */
  zoom(factor, x, y) {
    const { clientWidth, clientHeight } = this.#canvas;
    const actual = this.#zoom / this.scale;
    const largest = Math.max(LARGEST_SCALE * actual, 1);
    const smallest = Math.min(SMALLEST_ZOOM, actual);
    const zoom = Math.min(Math.max(this.#zoom * factor, smallest), largest);
    const ratio = this.#zoom / zoom;
    // What lies under the point stays under it.
    const { width, height } = this.#size(zoom);
    const [right, down] = [(x - clientWidth / 2) / width, (y - clientHeight / 2) / height];
    this.#offset.x += right * (1 - 1 / ratio);
    this.#offset.y += down * (1 - 1 / ratio);
    this.#zoom = zoom;
    this.#place();
  }

  zoomCentre(factor) {
    this.zoom(factor, this.#canvas.clientWidth / 2, this.#canvas.clientHeight / 2);
  }

  move(right, down) {
    const { width, height } = this.#size(this.#zoom);
    this.#offset.x += right / width;
    this.#offset.y += down / height;
    this.#place();
  }

  fit() {
    this.#zoom = 1;
    this.#offset = { x: 0, y: 0 };
    this.#place();
  }

  /** One pixel of the image to one of the screen, the middle staying where it is. */
  actualPixels() {
    this.zoomCentre(1 / this.scale);
  }

  /** The viewport has another size. */
  resized() {
    this.#place();
  }

  /** The whole picture in CSS pixels, as it is shown at an enlargement. */
  #size(zoom) {
    const scale = this.#fitted * zoom;
    return { width: this.#canvas.width * scale, height: this.#canvas.height * scale };
  }

  /** Apply zoom and place; the picture cannot be moved off the viewport's middle. */
  #place() {
    const within = (value) => Math.min(Math.max(value, -0.5), 0.5);
    this.#offset = { x: within(this.#offset.x), y: within(this.#offset.y) };
    const { width, height } = this.#size(this.#zoom);
    const [right, down] = [this.#offset.x * width, this.#offset.y * height];
    const moved = this.#zoom !== 1 || right !== 0 || down !== 0;
    this.#canvas.style.transform = moved
      ? `translate(${right}px, ${down}px) scale(${this.#zoom})`
      : "";
  }
}
