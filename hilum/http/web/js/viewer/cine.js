// Playing a series as a film, at the rate it was taken or another one.

/** Where nobody says how long a frame stands. */
export const USUAL_RATE = 15;
/** Rates one steps through, in frames a second. */
const STEPS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60];
/** A screen's beats wander: a frame due this soon is shown with the present one. */
const TOLERANCE_MS = 4;
/** A film that was held up makes good this much, so that a hitch does not slow it down. */
const CATCH_UP_MS = 100;

/** The rate next to `rate`, upwards or downwards. */
export function nextRate(rate, step) {
  const found = step > 0 ? STEPS.find((one) => one > rate) : STEPS.findLast((one) => one < rate);
  return found ?? rate;
}

export class Cine {
  #advance;
  #rate = USUAL_RATE;
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

  /** Frames a second; a new rate holds from the next frame on. */
  get rate() {
    return this.#rate;
  }

  set rate(rate) {
    this.#rate = rate;
  }

  play() {
    this.#due = 0;
    if (!this.playing) this.#schedule();
  }

  stop() {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
  }

  #schedule() {
    this.#request = requestAnimationFrame((now) => {
      this.#schedule();
      if (now < this.#due - TOLERANCE_MS || !this.#advance()) return;
      // Keep the beat; after a longer wait start a new one rather than hurry.
      const frameTime = 1000 / this.#rate;
      this.#due = Math.max(this.#due, now - Math.max(frameTime, CATCH_UP_MS)) + frameTime;
    });
  }
}
