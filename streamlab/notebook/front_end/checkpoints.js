// Checkpoints: a timeline, a list with what can be done with each, and a slider into the past.
import { button, element, keepSize, section, setText, shape, whenChanged } from "./dom.js";
import { PACES } from "./header.js";
import { drawOptions, drawPages, labelled, makePages, makeSelect } from "./results.js";

const STRIP = { height: 56, step: 16, bar: 10, foot: 16 };
// What can be done comes before the figures, so that it is in sight on a narrow page.
const HEADS = [
  ["checkpoint", ""],
  ["", ""],
  ["at", ""],
  ["took", "sl-number"],
  ["size", "sl-number"],
  ["newly written", "sl-number"],
  ["", ""],
];

export const makeCheckpoints = (parent, { choose, act }) => {
  const parts = { act, choose };
  parts.none = element("div", "sl-callout sl-warning", parent);
  parts.bar = element("div", "sl-bar-tools", parent);
  parts.running = element("span", "sl-bar-tools", parts.bar);
  button(parts.running, "◉ Take a checkpoint", "take one now", () => act("checkpoint"));
  button(parts.running, "■ Stop with savepoint", "end with a savepoint, a checkpoint that is yours; open windows stay open", () =>
    act("stop_with_savepoint", { path: parts.path.value }),
  ).dataset.command = "stop_with_savepoint";
  parts.path = labelled(parts.running, "to", document.createElement("input"));
  parts.path.type = "search";
  parts.path.placeholder = "a folder beside the notebook";
  parts.path.spellcheck = false;
  parts.pace = labelled(parts.bar, "pace of replays", document.createElement("select"));
  drawOptions(parts.pace, PACES, "max");
  parts.about = element("div", "sl-count", parent);
  parts.strip = element("div", "sl-strip", parent);
  parts.strip.setAttribute("role", "img");
  parts.scroll = element("div", "sl-scroll sl-list", parent);
  const table = element("table", "sl-table", parts.scroll);
  const head = element("tr", "", element("thead", "", table));
  for (const [text, side] of HEADS) element("th", side, head, text).scope = "col";
  parts.list = element("tbody", "", table);

  parts.past = section(parent, "Time travel", "the result table, or what a step remembered, as it stood when a checkpoint was taken", "sl-past");
  const bar = element("div", "sl-bar-tools", parts.past);
  parts.slider = labelled(bar, "back to", document.createElement("input"));
  parts.slider.type = "range";
  parts.slider.min = 0;
  // The last place is that of the newest one, whichever that is. What was chosen stands there until it is shown.
  parts.slider.addEventListener("input", () => {
    const place = Number(parts.slider.value);
    const isNewest = place === parts.ids.length - 1;
    Object.assign(parts, { wanted: isNewest ? null : parts.ids[place], wantedSince: Date.now() });
    tellPlace(parts, parts.ids[place], isNewest);
    choose({ at: parts.wanted });
  });
  parts.at = element("strong", "sl-at", bar);
  parts.part = makeSelect(bar, "show", (part) => choose({ part }));
  parts.error = element("div", "sl-where-error", parts.past);
  parts.pages = makePages(parts.past, bar, (fields) => choose(fields, "past"), { hasDtypes: true, label: "the past" });
  return parts;
};

const WAIT_MS = 4000;

const tellPlace = (parts, id, isNewest) => {
  const one = parts.timeline.find((other) => other.id === id);
  const words = `checkpoint ${id}, ${one?.at ?? ""}${isNewest ? " (the newest)" : ""}`;
  setText(parts.at, words);
  parts.slider.setAttribute("aria-valuetext", words);
};

const drawStrip = ({ strip, about }, timeline) => {
  strip.hidden = !timeline.length;
  whenChanged(strip, timeline, () => {
    strip.replaceChildren();
    const longest = Math.max(1, ...timeline.map(({ ms }) => ms ?? 0));
    const width = timeline.length * STRIP.step;
    const svg = shape("svg", { width, height: STRIP.height + STRIP.foot, class: "sl-strip-svg" }, strip);
    timeline.forEach((one, i) => {
      const x = i * STRIP.step + 4;
      const height = one.ms === null ? 3 : Math.max(3, (one.ms / longest) * (STRIP.height - 4));
      const bar = shape(
        "rect",
        { x, y: STRIP.height - height, width: STRIP.bar, height, rx: 1, class: `sl-cp sl-cp-${one.state}` },
        svg,
      );
      shape("title", {}, bar, `checkpoint ${one.id}, ${one.words}: ${one.duration}, ${one.size}, at ${one.at}`);
      shape("text", { x: x + STRIP.bar / 2, y: STRIP.height + 12, "text-anchor": "middle" }, svg, one.mark);
      if (!one.before) return;
      const line = shape("path", { d: `M ${x - 3} 0 V ${STRIP.height}`, class: "sl-restart" }, svg);
      shape("title", {}, line, one.before);
    });
    strip.scrollLeft = strip.scrollWidth;
    const failed = timeline.filter(({ mark }) => mark === "✗").length;
    const words = `how long each took, oldest first, ${Math.round(longest)} ms at most`;
    setText(about, timeline.length ? `${words} · ✓ complete · ✗ not completed: ${failed} · ┆ restart` : "no checkpoint yet");
    strip.setAttribute("aria-label", `${timeline.length} checkpoints: ${about.textContent}`);
  });
};

const drawList = (parts, timeline, shownId) => {
  whenChanged(parts.list, [timeline, shownId], () => {
    parts.list.replaceChildren();
    for (const one of [...timeline].reverse()) {
      const row = element("tr", "", parts.list);
      row.dataset.checkpoint = one.id;
      row.classList.toggle("sl-chosen", one.id === shownId);
      element("td", "", row, `${one.mark} ${one.id}`);
      const actions = element("td", "sl-actions", row);
      [one.at, one.duration, one.size, one.new].forEach((text, i) => element("td", HEADS[i + 2][1], row, text));
      element("td", "sl-count", row, [one.words, one.kind, one.restored, one.before, one.reason].filter(Boolean).join(" · "));
      if (!one.kept) continue;
      button(actions, "↺ Replay", "start a new job that goes on from this checkpoint, and show it here", () =>
        parts.act("replay", { checkpoint: one.id, pace: parts.pace.value }),
      ).dataset.command = "replay";
      button(actions, "Open state", "what the steps remembered", () => {
        parts.choose({ at: one.id, part: parts.states?.[0] ?? "" });
      });
    }
  });
};

export const drawCheckpoints = (parts, { body }, columns) => {
  setText(parts.none, body.takes ? "" : "This job takes no checkpoints. Start it with checkpoint_every=\"10s\".");
  parts.bar.hidden = !body.takes;
  parts.running.hidden = !body.running;
  drawStrip(parts, body.timeline);
  parts.scroll.hidden = !body.timeline.length;
  const { past } = body;
  const isShown = parts.wanted === undefined || parts.wanted === (past.newest ? null : past.id);
  const isAwaited = !isShown && Date.now() - parts.wantedSince < WAIT_MS;
  if (!isAwaited) parts.wanted = undefined;
  // While the slider is on its way, the places that it goes by stay as they are.
  if (!isAwaited) parts.ids = past.ids;
  parts.timeline = body.timeline;
  parts.states = past.parts?.map(([part]) => part).filter((part) => part.startsWith("state:"));
  drawList(parts, body.timeline, past.id);
  parts.past.hidden = past.id === null;
  if (past.id === null) return;
  if (!isAwaited) {
    parts.slider.max = past.ids.length - 1;
    parts.slider.value = past.ids.indexOf(past.id);
    parts.slider.disabled = past.ids.length < 2;
    tellPlace(parts, past.id, past.id === past.ids.at(-1));
  }
  keepSize(parts.at, "width");
  drawOptions(parts.part, past.parts, past.part);
  parts.part.title = Object.fromEntries(past.parts)[past.part] ?? "";
  setText(parts.error, past.error ? `✗ ${past.error}` : "");
  if (past.table) drawPages(parts.pages, past.table, columns);
};
