// One file on its way to the node, and what became of it.
import { errorFrom, UPLOAD_URL } from "../api.js";
import { number } from "../format.js";

/**
 * States: waiting, sending, storing (all bytes sent, the node makes them durable), stored,
 * refused (sending it again would end the same), failed (it may not).
 */
export const DONE = new Set(["stored", "refused", "failed"]);

/** What the node says it did with an instance. */
const OUTCOMES = {
  stored: "Stored",
  "already-stored": "Already stored",
  replaced: "Stored as new version",
  "kept-current": "Stored; the earlier version stays current",
  accepted: "Stored; will be listed soon",
};

const REASONS = {
  "not-dicom": "Not a DICOM file",
  "too-large": "Larger than the node takes",
  "storage-full": "The node's disk is full",
  "storage-unavailable": "The node cannot write to its disk",
  "index-unavailable": "The node's database is away",
  unreachable: "The node did not answer",
};

export class Upload {
  state = "waiting";
  sent = 0;
  /** What the row says at its end. */
  result = "";
  /** The same with the node's own words, for those who want to know. */
  detail = "";
  #request = null;

  constructor(file, path) {
    this.file = file;
    this.path = path;
  }

  get size() {
    return this.file.size;
  }

  /** Bytes of this file that need no more sending. */
  get progress() {
    return DONE.has(this.state) ? this.size : Math.min(this.sent, this.size);
  }

  /** Send the file; resolves once its fate is known. `changed` is called on the way. */
  send(changed) {
    this.state = "sending";
    this.sent = 0;
    this.result = this.detail = "";
    changed();
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      this.#request = request;
      request.open("POST", UPLOAD_URL);
      request.upload.addEventListener("progress", (event) => {
        this.sent = event.loaded;
        changed();
      });
      request.upload.addEventListener("load", () => {
        this.state = "storing";
        changed();
      });
      request.addEventListener("loadend", () => {
        this.#finish(request);
        changed();
        resolve();
      });
      const form = new FormData();
      form.append("file", this.file, this.file.name);
      request.send(form);
    });
  }

  cancel() {
    this.#request?.abort();
    this.#end("failed", "Cancelled");
  }

  retry() {
    this.state = "waiting";
    this.sent = 0;
    this.result = this.detail = "";
  }

  #finish(request) {
    this.#request = null;
    if (DONE.has(this.state)) return; // cancelled
    if (request.status >= 200 && request.status < 300) {
      this.#succeed(request.responseText);
      return;
    }
    const error = errorFrom(request.responseText, request.status);
    if (request.status === 0) error.code = "unreachable";
    this.#end(
      error.temporary ? "failed" : "refused",
      REASONS[error.code] ?? error.message,
      error.message,
    );
  }

  #succeed(body) {
    try {
      const { files, message } = JSON.parse(body);
      this.#end("stored", resultOf(files), message);
    } catch {
      this.#end("failed", "Not an answer of the node"); // a proxy's login page, say
    }
  }

  #end(state, result, detail = "") {
    this.state = state;
    this.result = result;
    this.detail = detail;
  }
}

/** Sum up what became of a file, or of the files of an archive. */
function resultOf(files) {
  const stored = files.filter(({ success }) => success);
  const outcomes = new Set(stored.map(({ outcome }) => outcome));
  const text = outcomes.size === 1 ? OUTCOMES[[...outcomes][0]] : OUTCOMES.stored;
  if (files.length === 1) return text;
  const all = number(files.length);
  return stored.length === files.length
    ? `${text} · ${all} files`
    : `${text} · ${number(stored.length)} of ${all} files`;
}
