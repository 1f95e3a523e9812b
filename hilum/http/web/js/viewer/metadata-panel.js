// Beside the pictures: every attribute of the instance in view, and a search through them.
import { ApiError, getDictionary } from "../api.js";
import { debounce, element, field, find, setText } from "../dom.js";
import { count } from "../format.js";
import { linesOf, matching, tagText } from "./data-set.js";

/** Lines shown at once; a multi-frame instance may have a hundred thousand. */
const MOST_LINES = 2000;
const TYPING_MS = 80;

export class MetadataPanel {
  #root;
  #search;
  #body;
  #facts;
  #closed;
  #keywords = null;
  /** What is shown, or about to be: a SOP Instance UID. */
  #instance = "";
  #lines = [];

  /**
   * @param facts - where data sets come from.
   * @param closed - called when the panel closes itself.
   */
  constructor(root, facts, closed) {
    this.#root = root;
    this.#facts = facts;
    this.#closed = closed;
    this.#search = find("input", root);
    this.#body = find("tbody", root);
    this.#search.addEventListener(
      "input",
      debounce(() => this.#list(), TYPING_MS),
    );
    find('[data-action="close"]', root).addEventListener("click", () => this.close());
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // it closes the panel, not the viewer
      event.stopPropagation();
      this.close();
    });
  }

  get open() {
    return !this.#root.hidden;
  }

  /** Open with the search at hand, for the instance that `show` tells next. */
  toggle() {
    if (this.open) {
      this.close();
      return;
    }
    this.#root.hidden = false;
    this.#instance = "";
    this.#search.focus();
    this.#search.select();
  }

  close() {
    if (!this.open) return;
    this.#root.hidden = true;
    this.#closed();
  }

  /** Show the attributes of a view's instance, if the panel is open and they are others. */
  async show(studyUid, view) {
    const sopInstanceUid = view.frame?.instance.sopInstanceUID ?? "";
    if (!this.open || sopInstanceUid === this.#instance) return;
    this.#instance = sopInstanceUid;
    this.#say("");
    if (!sopInstanceUid) {
      this.#take([], "There is no image in this viewport.");
      return;
    }
    try {
      const { seriesInstanceUID } = view.stack.series;
      const [dataSet, keywords] = await Promise.all([
        this.#facts.of(studyUid, seriesInstanceUID, sopInstanceUid),
        this.#dictionary(),
      ]);
      if (this.#instance === sopInstanceUid) this.#take(linesOf(dataSet, keywords), "");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.#instance !== sopInstanceUid) return;
      this.#instance = ""; // the next step asks again
      this.#take([], `The attributes did not come. ${error.message}`);
    }
  }

  /** Forget the study. */
  clear() {
    this.#instance = "";
    this.#take([], "");
  }

  async #dictionary() {
    this.#keywords ??= getDictionary();
    try {
      return await this.#keywords;
    } catch (error) {
      this.#keywords = null;
      throw error;
    }
  }

  #take(lines, problem) {
    this.#lines = lines;
    this.#list();
    if (problem) this.#say(problem);
  }

  #list() {
    const found = matching(this.#lines, this.#search.value);
    this.#body.replaceChildren(...found.slice(0, MOST_LINES).map(row));
    const shown = found.length > MOST_LINES ? `, the first ${MOST_LINES} shown` : "";
    if (!this.#lines.length) this.#say("");
    else if (!found.length) this.#say("No attribute matches.");
    else this.#say(`${count(found.length, "attribute")}${shown}`);
  }

  #say(text) {
    setText(field(this.#root, "state"), text);
  }
}

function row({ tag, keyword, vr, text, depth }) {
  const made = element("tr");
  const name = element("th", keyword || "Unknown", { scope: "row", "data-depth": depth });
  name.toggleAttribute("data-missing", !keyword);
  name.append(element("span", [tagText(tag), vr].filter(Boolean).join(" "), { class: "sub" }));
  made.append(name, element("td", text));
  return made;
}
