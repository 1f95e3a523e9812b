// The few things every part does to the document. Data from the node reaches it as text
// nodes and attributes alone: names are written by strangers.

const ICONS = "static/icons.svg";

/** Return the element `selector` names below `root`; a missing one is a fault of ours. */
export function find(selector, root = document) {
  const element = root.querySelector(selector);
  if (!element) throw new Error(`no element ${selector}`);
  return element;
}

/** Return the element with `data-field="name"` below `root`. */
export const field = (root, name) => find(`[data-field="${name}"]`, root);

/** Return a copy of the one element in `<template id="id">`. */
export function fromTemplate(id) {
  return find(`template#${id}`).content.firstElementChild.cloneNode(true);
}

/** Return a new element with `text` in it. */
export function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Set text only where it differs, so that a refresh touches nothing that stays. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Set a text, or a placeholder that reads as one where there is none. */
export function setValue(target, text, placeholder = "") {
  setText(target, text || placeholder);
  target.toggleAttribute("data-missing", !text);
}

/** Show one of the symbols of icons.svg. */
export function setIcon(svg, name) {
  const use = find("use", svg);
  const href = `${ICONS}#${name}`;
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/** Return a function that calls `action` once `milliseconds` have passed without a call. */
export function debounce(action, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds, ...values);
  };
}

/** Return a function that calls `action` at most once a painted frame. */
export function oncePerPaint(action) {
  let pending = false;
  return () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      action();
    });
  };
}
