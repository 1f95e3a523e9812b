// The viewports: how many, which of them is active, and what lies in them.
import { fromTemplate } from "../dom.js";
import { showStudy } from "./overlay.js";
import { StackView } from "./stack-view.js";

/** Viewports by the name of their layout, columns × rows. */
export const LAYOUTS = { "1x1": 1, "2x1": 2, "2x2": 4 };
/** What a series is dragged as: nothing that other pages or the upload would take. */
export const SERIES_TYPE = "application/x-hilum-series";

export class Grid {
  layout = "1x1";
  #root;
  #shared;
  #on;
  #views = [];
  #active = null;
  #study = null;

  /**
   * @param root - `.grid`.
   * @param shared, on - as for StackView; also
   *   `on.dropped(seriesUid)` of a series that is for the active view.
   */
  constructor(root, shared, on) {
    this.#root = root;
    this.#shared = shared;
    this.#on = { ...on, press: (view) => this.activate(view), double: () => this.maximise() };
    this.setLayout(this.layout);
  }

  get views() {
    return this.#views;
  }

  /** The view that keys and tools act on. */
  get active() {
    return this.#active;
  }

  get maximised() {
    return this.#root.hasAttribute("data-maximised");
  }

  /** Take a layout; the active view stays, others go from the last on. */
  setLayout(layout) {
    this.layout = layout;
    this.#root.dataset.layout = layout;
    this.#root.removeAttribute("data-maximised");
    const count = LAYOUTS[layout];
    while (this.#views.length < count) this.#add();
    while (this.#views.length > count) this.#remove();
    for (const view of this.#views) view.divide(count);
    this.activate(this.#views.includes(this.#active) ? this.#active : this.#views[0]);
  }

  activate(view) {
    if (view === this.#active) return;
    const first = this.#active === null;
    this.#active = view;
    for (const one of this.#views) one.root.setAttribute("aria-current", String(one === view));
    if (first) return;
    this.#on.changed(view);
    this.#on.rested(view);
  }

  /** Make the next (1) or the previous (-1) view the active one. */
  activateNext(step) {
    const { length } = this.#views;
    const next = (this.#views.indexOf(this.#active) + step + length) % length;
    if (this.maximised) this.maximise();
    this.activate(this.#views[next]);
    this.#views[next].focus();
  }

  /** Give the active view all the room, or take it back. */
  maximise() {
    if (this.#views.length > 1) this.#root.toggleAttribute("data-maximised");
    this.#on.changed(this.#active);
  }

  /** Write who is examined into the corners; `null` empties them. */
  showStudy(study) {
    this.#study = study;
    for (const view of this.#views) showStudy(view.root, study);
  }

  /** Forget the study. */
  close() {
    this.#root.removeAttribute("data-maximised");
    for (const view of this.#views) view.close();
    this.showStudy(null);
    this.activate(this.#views[0]);
  }

  #add() {
    const root = fromTemplate("viewport");
    this.#root.append(root);
    const view = new StackView(root, this.#shared, this.#on);
    this.#views.push(view);
    showStudy(root, this.#study);
    root.setAttribute("aria-current", "false");
    this.#watchDrops(root, view);
  }

  #remove() {
    const last = this.#views.findLast((view) => view !== this.#active);
    this.#views = this.#views.filter((view) => view !== last);
    last.dispose();
    last.root.remove();
  }

  #watchDrops(root, view) {
    const carriesSeries = (event) => event.dataTransfer.types.includes(SERIES_TYPE);
    const mark = (over) => root.toggleAttribute("data-over", over);
    root.addEventListener("dragover", (event) => {
      if (!carriesSeries(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      mark(true);
    });
    root.addEventListener("dragleave", (event) => {
      if (!root.contains(event.relatedTarget)) mark(false);
    });
    root.addEventListener("drop", (event) => {
      if (!carriesSeries(event)) return;
      event.preventDefault();
      mark(false);
      this.activate(view);
      this.#on.dropped(event.dataTransfer.getData(SERIES_TYPE));
      view.focus();
    });
  }
}
