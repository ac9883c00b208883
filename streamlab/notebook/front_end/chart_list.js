// The charts of a tab: drawn by Bokeh once its script and the figures are there, and filled with each sample. Of the
// points only new ones come; chart_data.py says how. All charts of a tab show the same stretch of time.
import { button, element, setText } from "./dom.js";
import { drawKey, linesOf, mountFigure, onTheme, pointsOf } from "./charts.js";
import { cutLine, cutPoints, makeRange, rangeOf } from "./chart_range.js";

const AGAIN_MS = 3000;
const DRAW_MS = 1000;
const ON_THE_WAY = "The charts come with the first figures.";

export const makeCharts = (parent, names, tools) => {
  const list = { tools, asked: {}, lines: {}, axes: {} };
  const bar = element("div", "sl-bar-tools sl-chart-tools", parent);
  list.range = makeRange(bar, () => draw(list));
  list.zones = element("span", "sl-count", bar);
  list.note = element("div", "sl-count", parent, ON_THE_WAY);
  const grid = element("div", "sl-charts", parent);
  list.charts = names.map((name) => {
    const host = element("div", "sl-chart", grid);
    return { name, host, plot: element("div", "sl-plot", host), key: element("div", "sl-key", host), isAsked: false };
  });
  list.bar = bar;
  bar.hidden = true;
  for (const { name, host } of list.charts) Object.assign(host, { hidden: true }).dataset.chart = name;
  tools.onEnd(() => clearTimeout(list.timer));
  tools.onEnd(() => list.charts.forEach(({ figure }) => figure?.remove()));
  tools.onEnd(onTheme(() => requestAnimationFrame(() => draw(list))));
  return list;
};

const isEmpty = (shown) => ![...shown.lines.map(({ x }) => x.length > 1), ...shown.points.map(({ x }) => x.length > 0)].some(Boolean);

const fill = (list, { name, figure, host, key }) => {
  const { lines, points } = list.lines[name];
  const range = rangeOf(list.range, list.lines);
  figure.setRange(range);
  if (list.axes[name]) figure.set("y axis", "axis_label", list.axes[name]);
  figure.fill("lines", linesOf(host, lines.map((line) => cutLine(line, range))));
  figure.fill("points", pointsOf(host, points.map((group) => cutPoints(group, range))));
  drawKey(key, lines, points);
  host.dataset.points = [...lines, ...points].reduce((sum, { x }) => sum + x.length, 0);
  host.dataset.from = range[0];
  host.dataset.to = range[1];
};

// To fill a chart is dear: one is filled in a frame of the browser's, so that clicks in between are heard.
const draw = (list) => {
  for (const chart of list.charts) chart.isStale = true;
  if (list.isDrawing) return;
  list.isDrawing = true;
  const next = () => {
    const chart = list.charts.find(({ isStale, figure, host }) => isStale && figure && !host.hidden);
    list.isDrawing = chart !== undefined;
    if (!chart) return;
    chart.isStale = false;
    fill(list, chart);
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
};

// Samples come twice a second, and to draw one is dear: the newest is drawn once a second, and none is left out for good.
const drawSoon = (list) => {
  if (list.timer) return;
  const wait = Math.max(0, (list.drawnAt ?? 0) + DRAW_MS - Date.now());
  list.timer = setTimeout(() => {
    list.timer = undefined;
    list.drawnAt = Date.now();
    draw(list);
  }, wait);
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
    const { lines, points, y_label: yLabel } = values[name];
    list.axes[name] = yLabel;
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
    mount(list);
  });
  list.tools.model.send({ type: "error", text: String(error?.message ?? error) });
  console.error(error);
};

// Builds the figures that have something to show, one in a frame.
const mount = async (list) => {
  if (list.isMounting) return;
  list.isMounting = true;
  try {
    for (;;) {
      const chart = list.charts.find(({ isAsked, host }) => !isAsked && !host.hidden);
      if (!chart) break;
      chart.isAsked = true;
      await new Promise(requestAnimationFrame);
      chart.figure = await mountFigure(list.tools.model, chart.plot, list.tools.figures[chart.name], (range) => {
        list.range.zoomed(range);
      });
      list.note.hidden = list.note.hidden || chart.figure !== undefined;
      draw(list);
    }
  } catch (error) {
    fail(list, error);
  } finally {
    list.isMounting = false;
  }
};

export const drawCharts = (list, values, columns) => {
  const isNew = values.version !== list.version;
  const isTaken = isNew && take(list, values, columns);
  if (isNew && !isTaken) ask(list, "need_charts");
  for (const { name, host } of list.charts) host.hidden = !list.lines[name] || isEmpty(list.lines[name]);
  list.bar.hidden = list.charts.every(({ host }) => host.hidden);
  setText(list.zones, values.zones);
  if (!list.tools.figures) {
    ask(list, "need_figures");
    return;
  }
  mount(list);
  if (isTaken) drawSoon(list);
};
