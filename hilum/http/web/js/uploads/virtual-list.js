// A list that holds only the rows one can see: two thousand files cost what twenty do.
import { element } from "../dom.js";

const MARGIN_ROWS = 4;

export class VirtualList {
  #place;
  #rowHeight;
  #make;
  #fill;
  #items = [];
  #rows = [];
  #spacer = element("div", "", { class: "uploads__spacer" });

  /**
   * @param place - scrolling element of a fixed height.
   * @param rowHeight - CSS pixels, the same for all rows.
   * @param make - returns a new row; rows are absolutely positioned.
   * @param fill - `(row, item)`: makes the row show the item.
   */
  constructor(place, { rowHeight, make, fill }) {
    this.#place = place;
    this.#rowHeight = rowHeight;
    this.#make = make;
    this.#fill = fill;
    place.append(this.#spacer);
    place.addEventListener("scroll", () => this.#draw(), { passive: true });
  }

  show(items) {
    this.#items = items;
    this.#spacer.style.height = `${items.length * this.#rowHeight}px`;
    this.#draw();
  }

  /** Scroll as little as brings row `index` into view. */
  reveal(index) {
    const top = index * this.#rowHeight;
    const { scrollTop, clientHeight } = this.#place;
    if (top < scrollTop) this.#place.scrollTop = top;
    const bottom = top + this.#rowHeight;
    if (bottom > scrollTop + clientHeight) this.#place.scrollTop = bottom - clientHeight;
  }

  #draw() {
    const { scrollTop, clientHeight } = this.#place;
    const first = Math.max(0, Math.floor(scrollTop / this.#rowHeight) - MARGIN_ROWS);
    const visible = Math.ceil(clientHeight / this.#rowHeight) + 2 * MARGIN_ROWS;
    const items = this.#items.slice(first, first + visible);
    while (this.#rows.length < items.length) {
      const row = this.#make();
      this.#rows.push(row);
      this.#place.append(row);
    }
    this.#rows.forEach((row, index) => {
      row.hidden = index >= items.length;
      if (row.hidden) return;
      row.style.transform = `translateY(${(first + index) * this.#rowHeight}px)`;
      row.setAttribute("aria-setsize", this.#items.length);
      row.setAttribute("aria-posinset", first + index + 1);
      this.#fill(row, items[index]);
    });
  }
}
