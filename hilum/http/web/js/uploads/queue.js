// All files of this visit, a few of them on their way at a time.
import { DONE, Upload } from "./upload.js";

const PARALLEL = 3;

/** Tells `changed` of every change, many times a second: listeners pace themselves. */
export class UploadQueue {
  uploads = [];
  #changed;
  #stored;
  #active = 0;
  #next = 0;

  /** @param on - `changed()`; `stored()` after each file the node has taken. */
  constructor(on) {
    this.#changed = on.changed;
    this.#stored = on.stored;
  }

  add(file, path) {
    this.uploads.push(new Upload(file, path));
    this.#pump();
    this.#changed();
  }

  get busy() {
    return this.#active > 0 || this.#next < this.uploads.length;
  }

  /** Count and bytes by state, for the heading and the bars. */
  get totals() {
    const totals = {
      files: this.uploads.length,
      done: 0,
      stored: 0,
      refused: 0,
      failed: 0,
      size: 0,
      sent: 0,
    };
    for (const upload of this.uploads) {
      totals.size += upload.size;
      totals.sent += upload.progress;
      if (DONE.has(upload.state)) {
        totals.done += 1;
        totals[upload.state] += 1;
      }
    }
    return totals;
  }

  retryFailed() {
    for (const upload of this.uploads) if (upload.state === "failed") upload.retry();
    this.#next = 0;
    this.#pump();
    this.#changed();
  }

  /** Give up what has not been stored yet. */
  cancel() {
    for (const upload of this.uploads) if (!DONE.has(upload.state)) upload.cancel();
    this.#changed();
  }

  clear() {
    this.uploads = [];
    this.#next = 0;
    this.#changed();
  }

  #pump() {
    while (this.#active < PARALLEL && this.#next < this.uploads.length) {
      const upload = this.uploads[this.#next];
      this.#next += 1;
      if (upload.state === "waiting") this.#send(upload);
    }
  }

  async #send(upload) {
    this.#active += 1;
    await upload.send(this.#changed);
    this.#active -= 1;
    if (upload.state === "stored") this.#stored();
    this.#pump();
    this.#changed();
  }
}
