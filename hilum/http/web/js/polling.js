// Doing something every few seconds, as long as somebody looks.

const HURRY_MS = 800;

/** Runs an async task again and again while the page is visible, one at a time. */
export class Poll {
  #task;
  #seconds;
  #timer = 0;
  #hurry = 0;
  #abort = null;
  #active = false;
  #running = false;

  /**
   * @param task - async function of an AbortSignal; it returns the seconds to wait for the
   *   next round, or nothing for the usual. It handles its own errors.
   * @param seconds - the usual pause between two rounds.
   */
  constructor(task, seconds) {
    this.#task = task;
    this.#seconds = seconds;
    document.addEventListener("visibilitychange", () => {
      if (this.#active) this.now();
    });
  }

  start() {
    this.#active = true;
    this.now();
  }

  stop() {
    this.#active = false;
    this.#cancel();
  }

  /** Run at once; the pause counts from the end of this run. */
  async now() {
    this.#cancel();
    if (!this.#active || document.hidden) return;
    const abort = new AbortController();
    this.#abort = abort;
    this.#running = true;
    const pause = (await this.#task(abort.signal)) ?? this.#seconds;
    if (abort.signal.aborted) return;
    this.#running = false;
    this.#timer = setTimeout(() => this.now(), pause * 1000);
  }

  /** Run within a second, however often this is called; a run under way is left to end. */
  soon() {
    if (this.#hurry) return;
    this.#hurry = setTimeout(() => {
      this.#hurry = 0;
      if (this.#running) this.soon();
      else this.now();
    }, HURRY_MS);
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#running = false;
  }
}
