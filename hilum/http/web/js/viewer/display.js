// The canvas: holds the frame pixel for pixel, the style sheet fits it to the stage.

const LARGEST_ZOOM = 16;

export class Display {
  #canvas;
  #context;
  #inverted = false;
  #zoom = 1;
  #left = 0;
  #top = 0;

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

  /** CSS pixels an image pixel takes: 1 is actual size. */
  get scale() {
    const { width, height, clientWidth, clientHeight } = this.#canvas;
    return Math.min(clientWidth / width, clientHeight / height) * this.#zoom;
  }

  /** Zoom about a point of the stage, in CSS pixels from its corner. */
  zoom(factor, x, y) {
    const zoom = Math.min(Math.max(this.#zoom * factor, 1), LARGEST_ZOOM);
    const ratio = zoom / this.#zoom;
    this.#left = x - (x - this.#left) * ratio;
    this.#top = y - (y - this.#top) * ratio;
    this.#zoom = zoom;
    this.#place();
  }

  zoomCentre(factor) {
    this.zoom(factor, this.#canvas.clientWidth / 2, this.#canvas.clientHeight / 2);
  }

  move(right, down) {
    this.#left += right;
    this.#top += down;
    this.#place();
  }

  fit() {
    this.#zoom = 1;
    this.#place();
  }

  /** Apply zoom and place; the picture cannot leave the stage. */
  #place() {
    const { clientWidth, clientHeight, style } = this.#canvas;
    const within = (value, size) => Math.min(Math.max(value, size * (1 - this.#zoom)), 0);
    this.#left = within(this.#left, clientWidth);
    this.#top = within(this.#top, clientHeight);
    style.transform =
      this.#zoom === 1 ? "" : `translate(${this.#left}px, ${this.#top}px) scale(${this.#zoom})`;
  }
}
