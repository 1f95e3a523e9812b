// The search field, the modalities and the dates above the list, and the same as a query.
import { debounce, find } from "../dom.js";
import { localDate } from "../format.js";

const TYPING_PAUSE_MS = 220;
const DAYS = { today: 0, week: 6, month: 29 };
const FIELDS = ["search", "period", "from", "to"];

export class Filters {
  #form;
  #range;

  /** @param changed - called with the fields' values when somebody changes one. */
  constructor(form, changed) {
    this.#form = form;
    this.#range = find('[data-part="range"]', form);
    const tell = () => changed(this.values);
    const tellSoon = debounce(tell, TYPING_PAUSE_MS);
    form.addEventListener("input", (event) => {
      this.#range.hidden = form.elements.period.value !== "range";
      if (event.target === form.elements.search) tellSoon();
      else tell();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      tell();
    });
  }

  /** What the fields say, as it stands in the address of the page. */
  get values() {
    const { elements } = this.#form;
    const ranged = elements.period.value === "range";
    return {
      search: elements.search.value.trim(),
      modality: elements.modality.value,
      period: elements.period.value,
      from: ranged ? elements.from.value : "",
      to: ranged ? elements.to.value : "",
    };
  }

  /** Fill the fields from an address's query; a field being typed in is left alone. */
  show(query) {
    const { elements } = this.#form;
    for (const name of FIELDS) {
      const value = query.get(name) ?? "";
      const typing = document.activeElement === elements[name];
      if (elements[name].value.trim() !== value && !typing) elements[name].value = value;
    }
    // Browsers differ in setting a group of buttons to ""; a value in a link that none of
    // them has means no filter.
    const buttons = [...elements.modality];
    const chosen = buttons.find((button) => button.value === query.get("modality"));
    (chosen ?? buttons[0]).checked = true;
    if (elements.period.selectedIndex < 0) elements.period.selectedIndex = 0;
    this.#range.hidden = elements.period.value !== "range";
  }

  clear() {
    this.#form.elements.search.value = "";
    this.show(new URLSearchParams());
  }

  focusSearch() {
    this.#form.elements.search.focus();
    this.#form.elements.search.select();
  }
}

/** Values of the fields as the node's list takes them. */
export function filterOf({ search, modality, period, from, to }) {
  const [first, last] = period in DAYS ? lastDays(DAYS[period]) : [from, to];
  const compact = (day) => day.replaceAll("-", "");
  const studyDate = first || last ? `${compact(first)}-${compact(last)}` : "";
  return { search, modality, studyDate };
}

function lastDays(days) {
  const today = new Date();
  const first = new Date(today.getFullYear(), today.getMonth(), today.getDate() - days);
  return [localDate(first), localDate(today)];
}

/** Whether `filter` leaves anything out. */
export const narrows = (filter) => Object.values(filter).some(Boolean);
