// Uploads at the corner of the page: the whole, each file, and what to do about failures.
import { field, find, fromTemplate, oncePerPaint, setIcon, setText } from "../dom.js";
import { bytes, count, number } from "../format.js";
import { UploadQueue } from "./queue.js";
import { VirtualList } from "./virtual-list.js";

const ROW_HEIGHT = 44;
const ICONS = {
  waiting: "waiting",
  sending: "upload",
  storing: "upload",
  stored: "done",
  refused: "warning",
  failed: "warning",
};

export class UploadPanel {
  #root;
  #queue;
  #list;
  #listPlace;
  #problemsOnly;
  #draw = oncePerPaint(() => this.#show());

  /** @param stored - called after each file the node has taken. */
  constructor(root, stored) {
    this.#root = root;
    this.#queue = new UploadQueue({ changed: this.#draw, stored });
    this.#listPlace = find('[data-part="list"]', root);
    this.#list = new VirtualList(this.#listPlace, {
      rowHeight: ROW_HEIGHT,
      make: () => fromTemplate("upload-row"),
      fill,
    });
    this.#problemsOnly = field(root, "problems");
    this.#problemsOnly.addEventListener("change", this.#draw);
    this.#onClick("retry", () => this.#queue.retryFailed());
    this.#onClick("cancel", () => this.#queue.cancel());
    this.#onClick("close", () => this.#close());
    this.#onClick("collapse", (button) => this.#fold(button));
    addEventListener("beforeunload", (event) => {
      if (this.#queue.busy) event.preventDefault();
    });
  }

  /** Upload `files`, an (async) iterable of `{file, path}`, as they turn up. */
  async add(files) {
    this.#root.hidden = false;
    for await (const { file, path } of files) this.#queue.add(file, path);
  }

  #show() {
    const totals = this.#queue.totals;
    const problems = totals.refused + totals.failed;
    const running = totals.done < totals.files;
    setText(field(this.#root, "title"), title(totals, running));
    setText(field(this.#root, "detail"), detail(totals, running));
    const progress = field(this.#root, "progress");
    // Empty files and the node's own work count as well: half by files, half by bytes.
    const byBytes = totals.size ? totals.sent / totals.size : 1;
    progress.value = totals.files ? (byBytes + totals.done / totals.files) / 2 : 0;
    setText(field(this.#root, "problems-label"), `Only problems (${number(problems)})`);
    this.#problemsOnly.disabled = problems === 0;
    if (problems === 0) this.#problemsOnly.checked = false;
    find('[data-action="cancel"]', this.#root).hidden = !running;
    find('[data-action="retry"]', this.#root).hidden = running || totals.failed === 0;
    find('[data-action="close"]', this.#root).hidden = running;
    this.#root.dataset.running = String(running);
    this.#showRows();
  }

  #showRows() {
    const isProblem = ({ state }) => state === "refused" || state === "failed";
    const all = this.#queue.uploads;
    const rows = this.#problemsOnly.checked ? all.filter(isProblem) : all;
    const height = Math.min(rows.length, 6) * ROW_HEIGHT;
    this.#listPlace.style.height = `${Math.max(height, ROW_HEIGHT)}px`;
    this.#list.show(rows);
    // Follow the work, unless somebody is looking at the list.
    if (this.#listPlace.matches(":hover, :focus-within")) return;
    const active = rows.findLastIndex(({ state }) => state === "sending" || state === "storing");
    if (active >= 0) this.#list.reveal(active);
  }

  #close() {
    this.#root.hidden = true;
    this.#queue.clear();
  }

  #fold(button) {
    const body = find('[data-part="body"]', this.#root);
    body.hidden = !body.hidden;
    button.setAttribute("aria-expanded", String(!body.hidden));
    button.setAttribute("aria-label", body.hidden ? "Unfold the list" : "Fold the list");
    if (!body.hidden) this.#draw();
  }

  #onClick(action, run) {
    const button = find(`[data-action="${action}"]`, this.#root);
    button.addEventListener("click", () => run(button));
  }
}

function title(totals, running) {
  if (running) return `Uploading ${number(totals.done + 1)} of ${count(totals.files, "file")}`;
  if (totals.stored === totals.files) return `${count(totals.files, "file")} stored`;
  return `${number(totals.stored)} of ${count(totals.files, "file")} stored`;
}

function detail(totals, running) {
  const parts = [];
  if (running) parts.push(`${bytes(totals.sent)} of ${bytes(totals.size)}`);
  else parts.push(bytes(totals.size));
  if (totals.refused) parts.push(`${number(totals.refused)} refused`);
  if (totals.failed) parts.push(`${number(totals.failed)} failed`);
  return parts.join(" · ");
}

function fill(row, upload) {
  row.dataset.state = upload.state;
  setIcon(find("svg", row), ICONS[upload.state]);
  const name = field(row, "name");
  setText(name, upload.path);
  name.title = upload.path;
  const result = field(row, "result");
  setText(result, upload.result || waitingText(upload));
  result.title = upload.detail;
  const progress = field(row, "progress");
  progress.value = upload.size ? upload.progress / upload.size : 0;
}

function waitingText(upload) {
  if (upload.state === "sending") return `${bytes(upload.progress)} of ${bytes(upload.size)}`;
  if (upload.state === "storing") return "Storing…";
  return bytes(upload.size);
}
