// The charts of a tab: drawn by Bokeh once its script and the figures are there, and filled with each frame.
import { button, element } from "./dom.js";
import { linesOf, mountFigure, onTheme, pointsOf } from "./charts.js";

const AGAIN_MS = 3000;

export const makeCharts = (parent, names, tools) => {
  const note = element("div", "sl-count", parent, "The charts are on their way.");
  const grid = element("div", "sl-charts", parent);
  const charts = names.map((name) => ({ name, host: element("div", "sl-chart", grid), figure: undefined, isAsked: false }));
  for (const { name, host } of charts) host.dataset.chart = name;
  const list = { charts, tools, note, asked: 0, draw: () => {} };
  tools.onEnd(() => charts.forEach(({ figure }) => figure?.remove()));
  tools.onEnd(onTheme(() => requestAnimationFrame(() => list.draw())));
  return list;
};

const fill = ({ figure, host }, { lines, points }, columns) => {
  figure.fill("lines", linesOf(host, lines, columns));
  figure.fill("points", pointsOf(host, points, columns));
  host.dataset.points = points.length + lines.length;
  const count = ({ x: { parts: [[from, to]] } }) => (to - from) / Float64Array.BYTES_PER_ELEMENT;
  host.hidden = ![...lines.map((line) => count(line) > 1), ...points.map((group) => count(group) > 0)].some(Boolean);
};

const fail = (list, error) => {
  list.note.textContent = `The charts cannot be drawn: ${error?.message ?? error} `;
  list.note.hidden = false;
  button(list.note, "Try again", "draw the charts", () => {
    list.charts.forEach((chart) => { chart.isAsked = false; });
  });
  list.tools.model.send({ type: "error", text: String(error?.message ?? error) });
  console.error(error);
};

export const drawCharts = (list, values, columns) => {
  const { charts, tools } = list;
  if (!tools.figures) {
    if (Date.now() - list.asked > AGAIN_MS) {
      list.asked = Date.now();
      tools.model.send({ type: "need_figures" });
    }
    return;
  }
  const isNew = values.version !== list.version;
  list.version = values.version;
  list.draw = () => charts.forEach((chart) => { if (chart.figure) fill(chart, values[chart.name], columns); });
  for (const chart of charts) {
    if (chart.isAsked) continue;
    chart.isAsked = true;
    mountFigure(tools.model, chart.host, tools.figures[chart.name]).then((figure) => {
      chart.figure = figure;
      list.note.hidden = figure !== undefined;
      list.draw();
    }).catch((error) => fail(list, error));
  }
  // Samples come more seldom than frames, and to draw a chart is dear.
  if (isNew) list.draw();
};
