// Who sent files over HTTP, when, how much, and what came of it. Requests that follow each
// other are one line: this page sends every file by itself.
import { getUploads } from "../api.js";
import { field, find, fromTemplate, setText } from "../dom.js";
import { bytes, count, join, moment, number, received } from "../format.js";

const SHOWN = 50;
const FETCHED = 200;
/** Requests of one sender that are no further apart belong together. */
const TOGETHER_MS = 30_000;
const KINDS = { upload: "Upload", stow: "STOW-RS", orthanc: "Orthanc API" };
/** Outcomes and codes read as they are, their dashes as blanks, but for this. */
const OUTCOMES = { "not-dicom": "not DICOM" };
const FINE = new Set(["stored", "already-stored", "accepted"]);

export class UploadLog {
  #root;
  #rows;
  #uploads = [];

  constructor(root) {
    this.#root = root;
    this.#rows = find("tbody", root);
  }

  async refresh(signal) {
    this.#uploads = await getUploads({ limit: FETCHED, signal });
    this.#show();
  }

  /** Add one that has just been made. */
  add(upload) {
    if (this.#uploads.some(({ id }) => id === upload.id)) return;
    this.#uploads = [upload, ...this.#uploads].slice(0, FETCHED);
    this.#show();
  }

  #show() {
    this.#rows.replaceChildren(...gathered(this.#uploads).slice(0, SHOWN).map(rowOf));
    find("table", this.#root).hidden = this.#uploads.length === 0;
    field(this.#root, "blank").hidden = this.#uploads.length > 0;
  }
}

/** Return lines, newest first, for `uploads`, newest first. */
function gathered(uploads) {
  const lines = [];
  for (const upload of uploads) {
    const line = lines.at(-1);
    if (!line || !belongs(line, upload)) {
      lines.push({ ...upload, begun: upload.at, outcomes: { ...upload.outcomes } });
      continue;
    }
    line.begun = upload.at;
    line.files += upload.files;
    line.bytes += upload.bytes;
    for (const [outcome, times] of Object.entries(upload.outcomes)) {
      line.outcomes[outcome] = (line.outcomes[outcome] ?? 0) + times;
    }
  }
  return lines;
}

const belongs = (line, upload) =>
  line.user === upload.user &&
  line.client === upload.client &&
  line.kind === upload.kind &&
  Date.parse(line.begun) - Date.parse(upload.at) < TOGETHER_MS;

const outcomeText = (outcome) => OUTCOMES[outcome] ?? outcome.replaceAll("-", " ");

function rowOf(upload) {
  const row = fromTemplate("upload-entry");
  const outcomes = Object.entries(upload.outcomes);
  row.toggleAttribute("data-problem", !outcomes.every(([outcome]) => FINE.has(outcome)));
  setText(field(row, "who"), upload.user ?? upload.client ?? "");
  setText(field(row, "kind"), KINDS[upload.kind] ?? upload.kind);
  setText(field(row, "files"), count(upload.files, "file"));
  setText(field(row, "size"), bytes(upload.bytes));
  setText(
    field(row, "outcome"),
    join(outcomes.map(([outcome, times]) => `${number(times)} ${outcomeText(outcome)}`)),
  );
  const time = field(row, "time");
  setText(time, received(upload.at));
  time.title = join([moment(upload.at), upload.client]);
  return row;
}
