// The node's state in the header: one line, and the reasons behind it.
import { ApiError, getHealth, isAbort } from "./api.js";
import { element, field, setText } from "./dom.js";
import { Poll } from "./polling.js";

const SECONDS = 10;
/** While something is wrong somebody waits for it to be over. */
const SECONDS_OF_TROUBLE = 3;

export class NodeStatus {
  /** What the node said last; `{}` before it did. */
  health = {};
  #root;
  #poll;
  #changed;

  /** @param changed - called when there is news of the AE title or the port. */
  constructor(root, changed) {
    this.#root = root;
    this.#changed = changed;
    this.#poll = new Poll((signal) => this.#refresh(signal), SECONDS);
    document.addEventListener("click", (event) => {
      if (!root.contains(event.target)) root.open = false;
    });
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !root.open) return;
      event.preventDefault(); // it closes the card, not the viewer
      root.open = false;
    });
  }

  start() {
    this.#poll.start();
  }

  /** "HILUM@host:4242", as a modality or dcmtk is told; empty while unknown. */
  get address() {
    const { aet, dicom_port: port } = this.health;
    return aet && port ? `${aet}@${location.hostname}:${port}` : "";
  }

  /** Names of the parts that do not work, with their reasons. */
  get faults() {
    return Object.entries(this.health.checks ?? {}).filter(([, check]) => !works(check));
  }

  async #refresh(signal) {
    try {
      const before = this.address;
      this.health = await getHealth(signal);
      this.#show(this.health.ok ? "ok" : "impaired");
      if (this.address !== before) this.#changed();
      return this.health.ok ? SECONDS : SECONDS_OF_TROUBLE;
    } catch (error) {
      if (isAbort(error)) return SECONDS;
      if (!(error instanceof ApiError)) throw error;
      this.#show("away");
      return SECONDS_OF_TROUBLE;
    }
  }

  #show(state) {
    this.#root.dataset.state = state;
    setText(field(this.#root, "summary"), this.#summary(state));
    const rows = [["DICOM", this.address || "unknown", ""]];
    if (state === "away") rows.push(["Node", "does not answer; trying again", "bad"]);
    for (const [name, check] of Object.entries(this.health.checks ?? {})) {
      if (state === "away") break;
      const fine = works(check);
      rows.push([partName(name), fine ? "in order" : check.reason, fine ? "" : "bad"]);
    }
    if (this.health.version) rows.push(["Version", this.health.version, ""]);
    const cells = rows.flatMap(([term, text, mark]) => [
      element("dt", term),
      element("dd", text, { "data-state": mark }),
    ]);
    field(this.#root, "details").replaceChildren(...cells);
  }

  #summary(state) {
    if (state === "away") return "Node does not answer";
    const faults = this.faults.map(([name]) => partName(name));
    if (faults.length) return `${faults.join(", ")} unavailable`;
    return state === "ok" ? this.address || "Ready" : "Not ready";
  }
}

const works = (check) => check.status === "ok";
const partName = (key) => ({ db: "Database", storage: "Storage" })[key] ?? key;
