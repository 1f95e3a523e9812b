// What happens on the node, as it happens: server-sent events, to whoever listens.

const STREAM_URL = "api/events/stream";
/** The browser tries again by itself, unless the answer was no stream: then this does. */
const AGAIN_MS = 5000;

/** One connection for the whole page. Listeners get the parsed data of each message. */
export class Live {
  #listeners = new Map();
  #source = null;
  #changed;

  /** @param changed - called with whether the connection stands. */
  constructor(changed = () => {}) {
    this.#changed = changed;
  }

  /** Call `listener` with every message of a kind: "event", "queue" or "upload". */
  on(kind, listener) {
    const listeners = this.#listeners.get(kind) ?? [];
    listeners.push(listener);
    this.#listeners.set(kind, listeners);
  }

  start() {
    const source = new EventSource(STREAM_URL);
    this.#source = source;
    source.addEventListener("open", () => this.#changed(true));
    source.addEventListener("error", () => {
      this.#changed(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.start(), AGAIN_MS);
    });
    for (const [kind, listeners] of this.#listeners) {
      source.addEventListener(kind, ({ data }) => {
        const message = JSON.parse(data);
        for (const listener of listeners) listener(message);
      });
    }
    // A page that goes away must not leave the node a connection to find out about.
    addEventListener("pagehide", () => this.#source.close(), { once: true });
    addEventListener("pageshow", ({ persisted }) => persisted && this.start(), { once: true });
  }
}
