// Playing a series as a film, at the rate it was taken.

const USUAL_FRAME_TIME_MS = 1000 / 15;

export class Cine {
  #advance;
  #frameTime = USUAL_FRAME_TIME_MS;
  #due = 0;
  #request = 0;

  /**
   * @param advance - shows the next frame if it is at hand; whether it did. A film waits
   *   for a slow node rather than skip frames.
   */
  constructor(advance) {
    this.#advance = advance;
  }

  get playing() {
    return this.#request !== 0;
  }

  /** @param frameTime - milliseconds a frame stands (0018,1063); unknown if not positive. */
  play(frameTime) {
    this.#frameTime = frameTime > 0 ? frameTime : USUAL_FRAME_TIME_MS;
    this.#due = 0;
    if (!this.playing) this.#schedule();
  }

  stop() {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
  }

  get framesPerSecond() {
    return 1000 / this.#frameTime;
  }

  #schedule() {
    this.#request = requestAnimationFrame((now) => {
      this.#schedule();
      if (now < this.#due || !this.#advance()) return;
      // Keep the beat; after a wait start a new one rather than hurry.
      this.#due = Math.max(this.#due, now - this.#frameTime) + this.#frameTime;
    });
  }
}
