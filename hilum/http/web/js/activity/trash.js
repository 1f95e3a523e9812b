// What was deleted and can be had back.
import { getTrash, restoreFromTrash } from "../api.js";
import { field, find, fromTemplate, setText } from "../dom.js";
import { bytes, count, date, join, moment, received } from "../format.js";

const LEVELS = { STUDY: "Study", SERIES: "Series", IMAGE: "Image" };

export class TrashList {
  #root;
  #rows;
  #failed;

  /** @param failed - called with the error of something a button was to do. */
  constructor(root, failed) {
    this.#root = root;
    this.#rows = find("tbody", root);
    this.#failed = failed;
  }

  async refresh(signal) {
    const { data, bytes: size } = await getTrash(signal);
    this.#rows.replaceChildren(...data.map((each) => this.#row(each)));
    this.#root.hidden = data.length === 0;
    setText(field(this.#root, "total"), bytes(size));
  }

  #row(deletion) {
    const row = fromTemplate("trash-entry");
    const { id, level, state, studyDate, studyDescription, modalities } = deletion;
    setText(field(row, "what"), join([LEVELS[level] ?? level, modalities.join(" "), studyDescription]));
    setText(field(row, "study"), join([date(studyDate), deletion.studyInstanceUID]));
    setText(field(row, "size"), join([count(deletion.instanceCount, "image"), bytes(deletion.bytes)]));
    setText(field(row, "why"), join([deletion.by, deletion.reason]));
    const time = field(row, "time");
    setText(time, received(deletion.deletedAt));
    time.title = moment(deletion.deletedAt);
    const button = find('[data-action="restore"]', row);
    button.disabled = state !== "kept";
    button.addEventListener("click", () => this.#restore(button, id));
    return row;
  }

  async #restore(button, id) {
    button.disabled = true;
    try {
      await restoreFromTrash(id);
      await this.refresh();
    } catch (error) {
      button.disabled = false;
      this.#failed(error);
    }
  }
}
