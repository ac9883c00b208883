// The diagnosis, in words: what is the matter, and what to do next.
import { element, whenChanged } from "./dom.js";

export const drawFindings = (parent, findings, nothing = "") => {
  whenChanged(parent, findings, () => {
    parent.replaceChildren();
    if (!findings.length && nothing) element("div", "sl-count", parent, nothing);
    for (const { severity, sign, sentence, move } of findings) {
      const item = element("div", `sl-callout sl-${severity}`, parent);
      element("span", "sl-sign", item, `${sign} `).title = severity;
      element("span", "", item, sentence);
      if (move) element("div", "sl-move", item, `→ ${move}`);
    }
  });
};
