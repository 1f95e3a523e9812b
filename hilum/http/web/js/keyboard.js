// Keys of a page. They rest while somebody types, while a dialog is open, and for chords
// that belong to the browser.

/** Where keys have a meaning of their own: arrows choose a radio button, scroll a list. */
const OWN_KEYS = "input:not([type=range], [type=checkbox]), select, textarea, .uploads";

/** A set of keys that can be switched on and off as its page comes and goes. */
export class Keymap {
  #bindings;
  #abort = null;

  /** @param bindings - `KeyboardEvent.key` (letters in lower case) to a handler. */
  constructor(bindings) {
    this.#bindings = bindings;
  }

  enable() {
    this.disable();
    this.#abort = new AbortController();
    addEventListener("keydown", (event) => this.#handle(event), { signal: this.#abort.signal });
  }

  disable() {
    this.#abort?.abort();
  }

  #handle(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.(OWN_KEYS) || document.querySelector("dialog[open]")) return;
    // A focused button or link keeps its own activation keys.
    const activates = event.key === " " || event.key === "Enter";
    if (activates && event.target.closest?.("button, a, summary, label")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = this.#bindings[key];
    if (!action) return;
    event.preventDefault();
    action(event);
  }
}
