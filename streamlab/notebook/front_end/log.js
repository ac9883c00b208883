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
    last: element("div", "sl-failure", restarts),
    letters: makePages(letters, element("div", "sl-bar-tools", letters), (fields) => choose(fields, "letters")),
    told: element("div", "sl-told", told),
    output: element("pre", "sl-output", output),
  };
  parts.output.tabIndex = 0;
  return parts;
};

export const drawLog = (parts, { body }, columns) => {
  setText(parts.restarts, body.restarts || "none");
  drawFailure(parts.last, body.last);
  drawPages(parts.letters, body.letters, columns);
  whenChanged(parts.told, body.told, () => {
    parts.told.replaceChildren();
    if (!body.told.length) parts.told.textContent = "nothing yet";
    for (const [at, text, isError] of body.told) {
      const line = element("div", isError ? "sl-error-line" : "", parts.told);
      element("span", "sl-count", line, `${at} `);
      element("span", "sl-said-text", line, `${isError ? "✗ " : "✓ "}${text}`);
    }
  });
  const atEnd = parts.output.scrollTop + parts.output.clientHeight >= parts.output.scrollHeight - 4;
  setText(parts.output, body.output || "nothing");
  if (atEnd) parts.output.scrollTop = parts.output.scrollHeight;
};
