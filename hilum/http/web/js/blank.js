// What stands where there is nothing to see: why, and what to do about it.
import { field, setText } from "./dom.js";

/**
 * Fill and show a blank section; `null` hides it.
 *
 * @param content - `{title, text, code?, action?: {label, run}}`
 */
export function showBlank(section, content) {
  section.hidden = content === null;
  if (!content) return;
  setText(field(section, "title"), content.title);
  setText(field(section, "text"), content.text);
  const code = section.querySelector('[data-field="code"]');
  if (code) {
    code.hidden = !content.code;
    setText(code, content.code ?? "");
  }
  const button = field(section, "action");
  button.hidden = !content.action;
  setText(button, content.action?.label ?? "");
  button.onclick = content.action?.run ?? null;
}
