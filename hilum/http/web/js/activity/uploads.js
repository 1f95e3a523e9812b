// Who sent files over HTTP, when, how much, and what came of it.
import { getUploads } from "../api.js";
import { field, find, fromTemplate, setText } from "../dom.js";
import { bytes, count, join, moment, number, received } from "../format.js";

const SHOWN = 50;
const KINDS = { upload: "Upload", stow: "STOW-RS", orthanc: "Orthanc API" };
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
    this.#uploads = await getUploads({ limit: SHOWN, signal });
    this.#show();
  }

  /** Add one that has just been made. */
  add(upload) {
    if (this.#uploads.some(({ id }) => id === upload.id)) return;
    this.#uploads = [upload, ...this.#uploads].slice(0, SHOWN);
    this.#show();
  }

  #show() {
    this.#rows.replaceChildren(...this.#uploads.map(rowOf));
    find("table", this.#root).hidden = this.#uploads.length === 0;
    field(this.#root, "blank").hidden = this.#uploads.length > 0;
  }
}

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
    join(outcomes.map(([outcome, times]) => `${number(times)} ${outcome.replaceAll("-", " ")}`)),
  );
  const time = field(row, "time");
  setText(time, received(upload.at));
  time.title = join([moment(upload.at), upload.client]);
  return row;
}
