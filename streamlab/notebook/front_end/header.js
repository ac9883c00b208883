// What stands above the tabs: state, figures, buttons, what was said last, and why a job failed.
import { button, element, keepSize, resize, setText, whenChanged } from "./dom.js";
import { drawOptions, makeSelect } from "./results.js";

const CONTROLS = {
  pause: ["❚❚", "Pause", "stop reading; what was read goes on its way"],
  resume: ["▶", "Resume", "read on"],
  stop: ["■", "Stop", "stop reading and end; what is open is in the last checkpoint"],
  cancel: ["✕", "Cancel", "end now; what is on its way is dropped"],
};

export const PACES = [
  ["max", "as fast as it goes"],
  ["realtime", "as time went by"],
  ["60x", "a minute a second"],
  ["600x", "ten minutes a second"],
  ["3600x", "an hour a second"],
  ["86400x", "a day a second"],
];

export const makeHeader = (root, act) => {
  const title = element("div", "sl-title", root);
  const parts = {
    root,
    act,
    state: element("span", "sl-state", title),
    name: element("span", "sl-name", title),
    id: element("span", "sl-id", title),
    trail: element("span", "sl-trail", title),
    line: element("span", "sl-line", title),
    pace: element("div", "sl-pace", title),
    controls: element("div", "sl-controls", title),
    steps: element("div", "sl-steps sl-bar-tools", root),
    progress: element("div", "sl-progress", root),
    figures: element("div", "sl-figures", root),
    said: element("div", "sl-callout sl-said", root),
    failure: element("div", "sl-callout sl-error", root),
  };
  parts.controls.setAttribute("role", "group");
  parts.controls.setAttribute("aria-label", "job");
  parts.bar = element("div", "sl-bar", parts.progress);
  parts.progress.setAttribute("role", "progressbar");
  parts.progress.setAttribute("aria-label", "input read");
  parts.state.setAttribute("aria-live", "polite");
  parts.said.setAttribute("role", "status");
  return parts;
};

const drawFigures = (parent, figures) => {
  const nodes = resize(parent, figures.length, "div", "sl-figure");
  figures.forEach(([label, value, meaning, alarming], i) => {
    const node = nodes[i];
    if (!node.childElementCount) {
      element("div", "sl-label", node);
      element("div", "sl-value", node);
    }
    // Another figure in this place has a width of its own.
    if (node.children[0].textContent !== label) node.style.minWidth = "";
    setText(node.children[0], label);
    setText(node.children[1], value);
    node.title = meaning;
    node.classList.toggle("sl-alarming", alarming);
    keepSize(node, "width");
  });
};

const field = (parent, label, hint, width) => {
  const input = document.createElement("input");
  const words = element("label", "sl-field", parent);
  element("span", "sl-label", words, label);
  input.type = "text";
  input.placeholder = hint;
  input.style.width = width;
  words.append(input);
  return input;
};

// What a paused job can be told to do by hand.
const makeSteps = (parent, act) => {
  const rowTools = element("span", "sl-bar-tools", parent);
  const timeTools = element("span", "sl-bar-tools", parent);
  const step = (tools, command, text, title, args) => {
    button(tools, text, title, () => act(command, args())).dataset.command = command;
  };
  let rows;
  // As it is written: the kernel knows what a number is, and says so when it is none.
  const size = () => ({ rows: rows.value });
  element("span", "sl-label", rowTools, "by hand");
  step(rowTools, "step", "⇥ Step", "read one batch, with everything that follows from it", size);
  step(rowTools, "step_watermark", "⇥ To next watermark", "read on until the watermark has risen", size);
  rows = field(rowTools, "rows a batch", "all", "56px");
  rows.value = "1";
  let to;
  const advance = () => ({ to: to.value });
  step(timeTools, "advance_watermark", "⇡ Advance watermark", "raise the watermark: windows before it fire", advance);
  to = field(timeTools, "by", "1h, or to a time", "132px");
};

const drawSteps = (parent, names, act) => {
  const canStep = names.includes("step");
  if (canStep && !parent.childElementCount) makeSteps(parent, act);
  parent.hidden = !canStep;
};

const drawControls = (parts, names) => {
  whenChanged(parts.controls, names, () => {
    const focused = parts.controls.contains(document.activeElement);
    parts.controls.replaceChildren();
    for (const name of names.filter((one) => one in CONTROLS)) {
      const [icon, word, title] = CONTROLS[name];
      const node = button(parts.controls, undefined, `${word}: ${title}`, () => parts.act(name));
      element("span", "sl-icon", node, icon).ariaHidden = "true";
      element("span", "sl-word", node, word);
      node.ariaLabel = word;
      node.dataset.command = name;
    }
    if (focused) parts.controls.firstElementChild?.focus();
  });
};

// What was chosen stands there until something is heard of it: another pace, or why there is none.
const drawPace = (parts, head, said) => {
  parts.pace.hidden = !head.controls.includes("pace");
  if (parts.pace.hidden) return;
  if (!parts.paces) {
    parts.paces = makeSelect(parts.pace, "pace", (pace) => parts.act("pace", { pace }));
    parts.paces.dataset.command = "pace";
  }
  whenChanged(parts.pace, [head.pace, said], () => {
    const others = PACES.some(([pace]) => pace === head.pace) ? [] : [[head.pace, "its own"]];
    drawOptions(parts.paces, [...others, ...PACES].map(([pace]) => [pace, pace]), head.pace);
    const words = [...others, ...PACES].find(([pace]) => pace === head.pace)[1];
    parts.paces.title = `how fast it reads, by the event times of its rows: ${words}`;
  });
};

export const drawFailure = (parent, failure) => {
  whenChanged(parent, failure, () => {
    parent.replaceChildren();
    if (!failure) return;
    parent.setAttribute("role", "alert");
    element("strong", "", parent, failure.step ? `${failure.kind} in ${failure.step}` : failure.kind);
    element("pre", "", parent, failure.message);
    for (const [title, body] of [["rows that the step was given", failure.sample], ["traceback", failure.traceback]]) {
      if (!body) continue;
      const details = element("details", "", parent);
      element("summary", "", details, title);
      element("pre", "", details, body);
    }
  });
};

// A replay is shown in the panel of the job that it replays: the way back, and whether both gave the same rows.
const drawTrail = (parts, original) => {
  whenChanged(parts.trail, original, () => {
    parts.trail.replaceChildren();
    if (!original) return;
    button(parts.trail, `← back to ${original}`, "show the job that is replayed", () => parts.act("back"));
    button(parts.trail, "= Compare", "compare both result tables, row by row", () => parts.act("compare"));
  });
};

const drawSaid = (parts, said) => {
  whenChanged(parts.said, said, () => {
    parts.said.replaceChildren();
    if (!said) return;
    parts.said.classList.toggle("sl-error", said.error);
    parts.said.classList.toggle("sl-good", !said.error);
    element("span", "sl-said-text", parts.said, `${said.error ? "✗ " : "✓ "}${said.text}`);
    button(parts.said, "✕", "close this line", () => parts.said.replaceChildren(), "sl-button sl-close");
  });
};

export const drawHeader = (parts, head, frame) => {
  const { root, progress, bar } = parts;
  root.dataset.state = head.state;
  root.dataset.seq = frame.seq;
  root.classList.toggle("sl-compact", frame.compact);
  const rowsIn = head.figures.find(([label]) => label === "rows in")?.[1] ?? "";
  root.setAttribute("aria-label", `Job ${head.name}, ${head.state}, ${rowsIn} rows in`);
  setText(parts.state, `${head.mark} ${head.state}`);
  setText(parts.name, head.name);
  parts.name.title = head.name;
  setText(parts.id, head.id);
  // What deserves a look comes first: a narrow page has no room for all.
  const inOrder = frame.compact ? [...head.figures].sort(([, , , one], [, , , other]) => other - one) : [];
  const words = inOrder.map(([label, value]) => `${label} ${value}`);
  if (frame.compact && head.awaited) words.unshift(head.awaited);
  setText(parts.line, words.join(" · "));
  parts.line.title = parts.line.textContent;
  const known = head.progress !== null;
  progress.classList.toggle("sl-unknown", !known);
  bar.style.width = known ? `${(head.progress * 100).toFixed(1)}%` : "0";
  const percent = Math.floor(head.progress * 100);
  if (known) progress.setAttribute("aria-valuenow", percent);
  else progress.removeAttribute("aria-valuenow");
  progress.title = known ? `${percent} % of the input has been read` : "";
  // While nothing was read, the last figure says for how long, and what is waited for.
  const [after, awaited] = head.awaited.split(": ");
  drawFigures(parts.figures, [...head.figures, ...(awaited ? [[after, awaited, head.awaited, false]] : [])]);
  parts.figures.lastElementChild?.classList.toggle("sl-awaited", Boolean(awaited));
  drawTrail(parts, frame.original);
  drawPace(parts, head, frame.said);
  drawControls(parts, head.controls);
  drawSteps(parts.steps, head.controls, parts.act);
  drawSaid(parts, frame.said);
  drawFailure(parts.failure, head.failure);
};

// What became of a job whose kernel has ended, and how to see it again. A name may have been given to another job since.
const goneText = ({ name, id, final, ends_with_kernel: endsToo }) => {
  const again = (which) => `import streamlab as sl and, in a cell, sl.attach(${JSON.stringify(which)})`;
  if (final) return `The kernel of this panel has ended: this is how the job ended. To see it again: ${again(id)}.`;
  const last = "this is the last that was shown";
  if (endsToo) return `The kernel has ended, and job ${name} with it: ${last}. To see what it has left: ${again(id)}.`;
  return `The kernel of this panel has ended: ${last}. Job ${name} goes on without it. To see it again: ${again(name)}.`;
};

// The kernel has ended, and nothing here will change any more.
export const drawGone = (parts, head) => {
  parts.root.dataset.state = "gone";
  parts.root.setAttribute("aria-label", `Job ${head.name}, its kernel has ended`);
  setText(parts.state, "○ kernel ended");
  drawSaid(parts, { error: true, text: goneText(head) });
  for (const control of parts.root.querySelectorAll("button:not(.sl-close, [data-range]), select, input")) control.disabled = true;
};
