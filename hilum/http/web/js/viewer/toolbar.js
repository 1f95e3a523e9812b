// The viewer's tools in the header: what the mouse does, windows, layout.
import { element, find, setText } from "../dom.js";
import { choicesFor } from "./presets.js";
import { hasWindow } from "./window-level.js";

/** The value of the menu's entry for a window set by hand. */
const BY_HAND = "hand";

export class Toolbar {
  /** What the main button of the mouse, or one finger, does. */
  tool = "window";
  #root;
  #windows;
  #listed = "";
  #choices = [];

  /**
   * @param root - the toolbar.
   * @param on - `window(window)` as `WindowLevel.choose` takes it, `layout(name)`, `tool()`,
   *   and one function for each `data-action` in the toolbar.
   */
  constructor(root, on) {
    this.#root = root;
    this.#windows = find("select", root);
    this.#windows.addEventListener("change", () => {
      const choice = this.#choices[Number(this.#windows.value)];
      if (choice) on.window(choice.window);
    });
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { action, tool, layout } = button.dataset;
      if (tool) this.choose(tool);
      if (layout) on.layout(layout);
      if (action) on[action]();
    });
    this.choose(this.tool);
  }

  choose(tool) {
    this.tool = tool;
    for (const button of this.#root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
  }

  /** Show how the active viewport is seen. */
  show(view, { layout, metadata }) {
    this.#press('[data-action="invert"]', view.inverted);
    this.#press('[data-action="metadata"]', metadata);
    for (const button of this.#root.querySelectorAll("[data-layout]")) {
      button.setAttribute("aria-pressed", String(button.dataset.layout === layout));
    }
    this.#showWindows(view);
  }

  /** The window of the key "0" to "6" for the image in view, if it has one. */
  windowOfKey(view, key) {
    return choicesOf(view).find((choice) => choice.key === key)?.window;
  }

  #press(selector, pressed) {
    find(selector, this.#root).setAttribute("aria-pressed", String(pressed));
  }

  #showWindows(view) {
    const { frame } = view;
    const usable = frame !== null && hasWindow(frame.instance);
    this.#windows.disabled = !usable;
    this.#list(view, usable);
    const chosen = usable ? bare(view.window.chosen) : "";
    const found = this.#choices.findIndex((choice) => bare(choice.window) === chosen);
    const byHand = find(`[value="${BY_HAND}"]`, this.#windows);
    const text = usable ? view.window.textFor(frame.instance) : frame ? "Colour" : "Window";
    setText(byHand, text);
    this.#windows.value = found < 0 ? BY_HAND : String(found);
  }

  /** Write the menu anew if another image offers other windows. */
  #list(view, usable) {
    const groups = usable ? groupsOf(view) : {};
    const listed = JSON.stringify(groups);
    if (listed === this.#listed) return;
    this.#listed = listed;
    this.#choices = Object.values(groups).flat();
    const byHand = element("option", "", { value: BY_HAND });
    byHand.hidden = true;
    const made = Object.entries(groups)
      .filter(([, choices]) => choices.length)
      .map(([label, choices]) => {
        const group = element("optgroup", "", { label });
        group.append(...choices.map((choice) => this.#option(choice)));
        return group;
      });
    this.#windows.replaceChildren(byHand, ...made);
  }

  #option(choice) {
    const text = choice.key ? `${choice.key} · ${choice.name}` : choice.name;
    return element("option", text, { value: this.#choices.indexOf(choice) });
  }
}

function groupsOf(view) {
  const { modality } = view.stack.series;
  const { own, others, presets } = choicesFor(modality, view.frame.instance, view.windowNames);
  return { "This image": [...own, ...others], [`${modality} presets`]: presets };
}

const choicesOf = (view) =>
  view.frame && hasWindow(view.frame.instance) ? Object.values(groupsOf(view)).flat() : [];

/** A window as text, without the name that a preset has. */
const bare = ({ own, center, width }) =>
  JSON.stringify(own === undefined ? { center, width } : { own });
