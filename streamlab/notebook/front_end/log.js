// What went wrong, what was refused, what the processes have printed, and what the panel has said.
import { element, section, setText, whenChanged } from "./dom.js";
import { drawFailure } from "./header.js";
import { drawPages, makePages } from "./results.js";

export const makeLog = (parent, { choose }) => {
  const restarts = section(parent, "Restarts");
  const letters = section(parent, "Input that could not be understood");
  const told = section(parent, "What was done in this panel");
  const output = section(parent, "Output of the job's processes");
  const parts = {
    restarts: element("div", "", restarts),
    last: element("div", "sl-callout sl-error", restarts),
    letters: makePages(letters, element("div", "sl-bar-tools", letters), (fields) => choose(fields, "letters"), {
      folds: true,
      label: "dead letters",
    }),
    told: element("div", "sl-told", told),
    output: element("pre", "sl-output", output),
    silence: element("div", "sl-count", output, "nothing: what print() in your functions writes comes here"),
  };
  parts.output.tabIndex = 0;
  return parts;
};

export const drawLog = (parts, { body }, columns) => {
  setText(parts.restarts, body.restarts || "none");
  parts.restarts.classList.toggle("sl-count", !body.restarts);
  drawFailure(parts.last, body.last);
  drawPages(parts.letters, body.letters, columns);
  whenChanged(parts.told, body.told, () => {
    parts.told.replaceChildren();
    if (!body.told.length) element("div", "sl-count", parts.told, "nothing yet");
    for (const [at, text, isError] of body.told) {
      const line = element("div", isError ? "sl-error" : "", parts.told);
      element("span", "sl-told-at", line, `${at} `);
      element("span", "sl-said-text", line, `${isError ? "✗ " : "✓ "}${text}`);
    }
  });
  const atEnd = parts.output.scrollTop + parts.output.clientHeight >= parts.output.scrollHeight - 4;
  setText(parts.output, body.output);
  parts.output.hidden = !body.output;
  parts.silence.hidden = Boolean(body.output);
  if (atEnd) parts.output.scrollTop = parts.output.scrollHeight;
};
