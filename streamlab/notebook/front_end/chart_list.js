// The charts of a tab: drawn by Bokeh once its script and the figures are there, and filled with each sample. Of the
// points only new ones come; chart_data.py says how.
import { button, element, setText } from "./dom.js";
import { linesOf, mountFigure, onTheme, pointsOf } from "./charts.js";

const AGAIN_MS = 3000;

export const makeCharts = (parent, names, tools) => {
  const note = element("div", "sl-count", parent, "The charts are on their way.");
  const grid = element("div", "sl-charts", parent);
  const charts = names.map((name) => ({ name, host: element("div", "sl-chart", grid), figure: undefined, isAsked: false }));
  for (const { name, host } of charts) host.dataset.chart = name;
  const zones = element("div", "sl-count", parent);
  const list = { charts, tools, note, zones, asked: {}, lines: {}, draw: () => {} };
  tools.onEnd(() => charts.forEach(({ figure }) => figure?.remove()));
  tools.onEnd(onTheme(() => requestAnimationFrame(() => list.draw())));
  return list;
};

const fill = ({ figure, host }, { lines, points }) => {
  figure.fill("lines", linesOf(host, lines));
  figure.fill("points", pointsOf(host, points));
  host.dataset.points = [...lines, ...points].reduce((sum, { x }) => sum + x.length, 0);
  host.hidden = ![...lines.map(({ x }) => x.length > 1), ...points.map(({ x }) => x.length > 0)].some(Boolean);
};

const joined = (known, [, from, to], added) => {
  const all = new Float64Array(to - from + added.length);
  all.set(known.subarray(from, to));
  all.set(added, to - from);
  return all;
};

const whole = ({ keep, ...line }, before, columns) => {
  const x = columns.numbers(line.x);
  const y = columns.numbers(line.y);
  if (!keep) return { ...line, x, y };
  const known = before.find(({ place }) => place === keep[0]);
  return { ...line, x: joined(known.x, keep, x), y: joined(known.y, keep, y) };
};

// Puts what has come to what is there; false when it is a change of something else, and all has to come once more.
const take = (list, values, columns) => {
  if (values.base !== null && values.base !== list.version) return false;
  const made = list.charts.map(({ name }) => {
    const before = list.lines[name];
    const known = before ? [...before.lines, ...before.points] : [];
    const { lines, points } = values[name];
    const wholes = (some) => some.map((line) => whole(line, known, columns));
    return [name, { lines: wholes(lines), points: wholes(points) }];
  });
  Object.assign(list, { lines: Object.fromEntries(made), version: values.version });
  return true;
};

const ask = (list, type) => {
  if (Date.now() - (list.asked[type] ?? 0) < AGAIN_MS) return;
  list.asked[type] = Date.now();
  list.tools.model.send({ type });
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
  const isNew = values.version !== list.version;
  if (isNew && !take(list, values, columns)) ask(list, "need_charts");
  if (!tools.figures) {
    ask(list, "need_figures");
    return;
  }
  list.draw = () => {
    setText(list.zones, values.zones);
    for (const chart of charts) if (chart.figure && list.lines[chart.name]) fill(chart, list.lines[chart.name]);
  };
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
