// Small helpers for the page. Text is always set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const element = (tag, className, parent, text) => {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  parent?.append(node);
  return node;
};

// A part of a tab with a heading, and a line for those who wonder.
export const section = (parent, title, explanation, className = "") => {
  const part = element("section", `sl-section ${className}`, parent);
  element("div", "sl-heading", part, title);
  if (explanation) element("div", "sl-explanation", part, explanation);
  return part;
};

export const shape = (tag, attributes, parent, text) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent?.append(node);
  return node;
};

export const button = (parent, text, title, onClick, className = "sl-button") => {
  const node = element("button", className, parent, text);
  node.type = "button";
  node.title = title;
  // A sign says nothing to those who hear it.
  if (!/\p{L}/u.test(text)) node.setAttribute("aria-label", title);
  node.addEventListener("click", onClick);
  return node;
};

export const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

// Keys pressed here are for what is here: in the notebook around it, "d d" would delete the cell. Saving is for all.
export const keepKeys = (root) => {
  const isSaving = ({ key, ctrlKey, metaKey }) => (ctrlKey || metaKey) && key.toLowerCase() === "s";
  const keep = (event) => isSaving(event) || event.stopPropagation();
  for (const type of ["keydown", "keypress", "keyup"]) root.addEventListener(type, keep);
};

// Makes `parent` have exactly `count` children, so that what grows keeps the nodes that it has.
export const resize = (parent, count, tag, className = "") => {
  while (parent.childElementCount > count) parent.lastElementChild.remove();
  while (parent.childElementCount < count) element(tag, className, parent);
  return parent.children;
};

// Keeps a node at least as wide as it has been, or as high, so that what stands beside it stays where it is.
export const keepSize = (node, side) => {
  const least = side === "width" ? "minWidth" : "minHeight";
  const now = Math.ceil(node.getBoundingClientRect()[side]);
  if (now > (parseFloat(node.style[least]) || 0)) node.style[least] = `${now}px`;
};

// Calls `draw` only when `value` is another than the last time, for parts that are made anew as a whole.
export const whenChanged = (node, value, draw) => {
  const text = JSON.stringify(value) ?? "";
  if (node.dataset.shown === text) return;
  node.dataset.shown = text;
  draw();
};
