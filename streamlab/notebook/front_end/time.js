// Event time: the diagnosis, the charts, the windows, the late rows and the splits.
import { element, section } from "./dom.js";
import { drawCharts, makeCharts } from "./chart_list.js";
import { drawFindings } from "./findings.js";
import { drawPages, makePages } from "./results.js";

const pages = (part, choose, of) =>
  makePages(part, element("div", "sl-bar-tools", part), (fields) => choose(fields, of), { folds: true, label: of });

export const makeTime = (parent, tools) => {
  const findings = element("div", "sl-findings", parent);
  const charts = makeCharts(parent, ["skew", "ahead", "watermarks", "lag"], tools);
  const panes = section(parent, "Windows", "open: takes rows · fired: has given its result · refined: fired again for late rows · closed: takes no more · times in UTC");
  const late = section(parent, "Late rows", "rows that came when their window had fired already: by how much, against which watermark, and what became of them");
  const splits = section(parent, "Splits of the sources", "the one with the lowest watermark holds all others back");
  return {
    findings,
    charts,
    panes: pages(panes, tools.choose, "panes"),
    late: pages(late, tools.choose, "late"),
    splits: pages(splits, tools.choose, "splits"),
  };
};

export const drawTime = (parts, { body }, columns) => {
  drawFindings(parts.findings, body.findings, body.calm);
  drawCharts(parts.charts, body.charts, columns);
  drawPages(parts.panes, body.panes, columns);
  drawPages(parts.late, body.late, columns);
  drawPages(parts.splits, body.splits, columns);
};
