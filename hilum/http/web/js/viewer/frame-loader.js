// Frames on their way from the node: one wanted now, a few likely to be wanted next.
//
// What is wanted changes faster than pictures arrive, so at most one request for a wanted
// frame is under way and the newest wish follows it; older wishes are never sent. The
// screen then moves as fast as the node answers, and never lags behind the hand.
import { isAbort } from "../api.js";

const CAPACITY_BYTES = 384 * 1024 * 1024;
const PARALLEL_PREFETCHES = 3;

/**
 * A request is `{key, url, group}`: equal keys are the same picture; another group (series)
 * makes requests of the former one pointless.
 */
export class FrameLoader {
  #fetch;
  #arrived;
  #failed;
  /** Oldest use first. */
  #pictures = new Map();
  #bytes = 0;
  #running = new Map();
  #queue = [];
  #wanted = null;
  #settled = true;
  #driving = false;
  /** Of what a page may hold and ask for at once, which its viewports divide among them. */
  #share = 1;

  /**
   * @param fetch - `(request, signal)` to a promise of an ImageBitmap.
   * @param arrived - `(request, bitmap)`: a frame to draw, at once, before returning.
   * @param failed - `(request, error)`: the wanted frame cannot be had.
   */
  constructor({ fetch, arrived, failed }) {
    this.#fetch = fetch;
    this.#arrived = arrived;
    this.#failed = failed;
  }

  /** Take 1/`viewports` of the memory and of the requests. */
  divide(viewports) {
    this.#share = 1 / viewports;
    this.#evict(null);
  }

  has(key) {
    return this.#pictures.has(key);
  }

  /** Want `request` shown, and nothing that was wanted before. */
  show(request) {
    const formerGroup = this.#wanted?.group;
    this.#wanted = request;
    if (formerGroup !== request.group) this.#abortAllBut(new Set([request.key]));
    const picture = this.#pictures.get(request.key);
    this.#settled = picture !== undefined;
    if (picture) {
      this.#touch(request.key, picture);
      this.#arrived(request, picture);
    } else {
      this.#drive();
    }
  }

  /** Fetch `requests` in the background, in order, instead of those asked for before. */
  prefetch(requests) {
    this.#queue = requests.filter((request) => !this.has(request.key));
    const kept = new Set(this.#queue.map((request) => request.key));
    if (this.#wanted && !this.#settled) kept.add(this.#wanted.key);
    this.#abortAllBut(kept, "prefetch");
    this.#pump();
  }

  /** Forget everything and stop what is under way. */
  clear() {
    this.#wanted = null;
    this.#settled = true;
    this.#queue = [];
    this.#abortAllBut(new Set());
    for (const picture of this.#pictures.values()) picture.close();
    this.#pictures.clear();
    this.#bytes = 0;
  }

  async #drive() {
    if (this.#driving) return;
    this.#driving = true;
    while (this.#wanted && !this.#settled) await this.#serve(this.#wanted);
    this.#driving = false;
  }

  async #serve(request) {
    try {
      const picture = await this.#load(request, "wanted");
      const current = !this.#settled && request.group === this.#wanted?.group;
      if (!current) return;
      this.#settled = request.key === this.#wanted.key;
      this.#arrived(request, picture);
    } catch (error) {
      if (isAbort(error) || request !== this.#wanted) return;
      this.#settled = true;
      this.#failed(request, error);
    }
  }

  #pump() {
    const prefetches = [...this.#running.values()].filter(({ role }) => role === "prefetch");
    const allowed = Math.max(Math.ceil(PARALLEL_PREFETCHES * this.#share), 1);
    let free = allowed - prefetches.length;
    while (free > 0 && this.#queue.length > 0) {
      const request = this.#queue.shift();
      if (this.has(request.key) || this.#running.has(request.key)) continue;
      free -= 1;
      // A frame that cannot be prefetched says so when it is wanted.
      this.#load(request, "prefetch").then(
        () => this.#pump(),
        () => this.#pump(),
      );
    }
  }

  #load(request, role) {
    const cached = this.#pictures.get(request.key);
    if (cached) return Promise.resolve(cached);
    const running = this.#running.get(request.key);
    if (running) {
      if (role === "wanted") running.role = role;
      return running.promise;
    }
    const abort = new AbortController();
    const entry = { abort, role };
    entry.promise = this.#fetch(request, abort.signal)
      .then((picture) => {
        if (abort.signal.aborted) {
          picture.close();
          throw new DOMException("given up", "AbortError");
        }
        this.#keep(request.key, picture);
        return picture;
      })
      .finally(() => {
        if (this.#running.get(request.key) === entry) this.#running.delete(request.key);
      });
    this.#running.set(request.key, entry);
    return entry.promise;
  }

  #abortAllBut(keys, role = null) {
    for (const [key, entry] of this.#running) {
      if (keys.has(key) || (role && entry.role !== role)) continue;
      this.#running.delete(key);
      entry.abort.abort();
    }
  }

  #keep(key, picture) {
    this.#pictures.set(key, picture);
    this.#bytes += bytesOf(picture);
    this.#evict(key);
  }

  /** Let the longest unused pictures go, but the one of `key`. */
  #evict(key) {
    for (const [oldest, old] of this.#pictures) {
      if (this.#bytes <= CAPACITY_BYTES * this.#share || oldest === key) break;
      this.#pictures.delete(oldest);
      this.#bytes -= bytesOf(old);
      old.close();
    }
  }

  #touch(key, picture) {
    this.#pictures.delete(key);
    this.#pictures.set(key, picture);
  }
}

const bytesOf = (picture) => picture.width * picture.height * 4;
