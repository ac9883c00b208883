// The job graph: a box for each vertex with how it spends its time, and the rows on each edge.
import { element, resize, setText, shape, whenChanged } from "./dom.js";
import { drawCharts, makeCharts } from "./chart_list.js";
import { drawFindings } from "./findings.js";

const BOX = { width: 236, height: 112 };
const GAP = { x: 128, y: 22 };
const KINDS = ["busy", "waiting", "idle"];
const MEANINGS = {
  busy: "at work",
  waiting: "held up by a slower step behind it (backpressure)",
  idle: "has nothing to do",
};
const LABEL_LETTERS = 20;

const place = ([layer, row]) => ({ x: layer * (BOX.width + GAP.x), y: row * (BOX.height + GAP.y) });
const short = (text) => (text.length > LABEL_LETTERS ? `${text.slice(0, LABEL_LETTERS - 1)}…` : text);

export const makeFlow = (parent, tools) => {
  const findings = element("div", "sl-findings", parent);
  findings.setAttribute("role", "status");
  const legend = element("div", "sl-legend sl-count", parent);
  for (const kind of KINDS) {
    const item = element("span", "sl-legend-item", legend);
    element("span", `sl-share sl-${kind}`, item);
    element("span", "", item, `${kind}: ${MEANINGS[kind]}`);
  }
  const scroll = element("div", "sl-graph-scroll", parent);
  const graph = element("div", "sl-graph", scroll);
  const charts = makeCharts(parent, ["rates", "batches", "state", "queues"], tools);
  return { findings, charts, graph, edges: shape("svg", { class: "sl-edges", "aria-hidden": "true" }, graph), boxes: element("div", "", graph) };
};

const drawEdges = (svg, edges) => {
  svg.replaceChildren();
  for (const { path, how } of edges) {
    const points = path.map(place);
    const middle = BOX.height / 2;
    let line = "";
    points.forEach(({ x, y }, i) => {
      const isFirst = i === 0;
      const isLast = i === points.length - 1;
      if (isFirst) line += `M ${x + BOX.width} ${y + middle}`;
      else {
        const before = points[i - 1];
        const bend = GAP.x / 2;
        const fromX = before.x + BOX.width;
        const end = isLast ? x - 7 : x;
        line += ` C ${fromX + bend} ${before.y + middle}, ${end - bend} ${y + middle}, ${end} ${y + middle}`;
        if (!isLast) line += ` H ${x + BOX.width}`;
      }
    });
    shape("path", { class: "sl-edge", d: line }, svg);
    const tip = points.at(-1);
    const y = tip.y + middle;
    shape("path", { class: "sl-tip", d: `M ${tip.x} ${y} l -8 -4 v 8 z` }, svg);
    const label = { x: points[0].x + BOX.width + GAP.x / 2, y: (points[0].y + points[1].y) / 2 + middle };
    const words = shape("text", { class: "sl-how", x: label.x, y: label.y - 6, "text-anchor": "middle" }, svg, short(how));
    shape("title", {}, words, how);
    shape("text", { class: "sl-rate", x: label.x, y: label.y + 15, "text-anchor": "middle" }, svg);
  }
};

const makeBox = (box) => {
  const head = element("div", "sl-box-head", box);
  element("span", "sl-box-name", head);
  element("span", "sl-box-times", head);
  element("div", "sl-box-line", box);
  const shares = element("div", "sl-shares", box);
  for (const kind of KINDS) element("div", `sl-share sl-${kind}`, shares);
  element("div", "sl-box-line sl-box-words", box);
  element("div", "sl-box-line", box);
  element("div", "sl-box-line", box);
};

const drawBox = (box, vertex) => {
  if (!box.childElementCount) makeBox(box);
  const [head, steps, shares, words, rows, holds] = box.children;
  const { x, y } = place(vertex.place);
  Object.assign(box.style, { left: `${x}px`, top: `${y}px`, width: `${BOX.width}px`, height: `${BOX.height}px` });
  box.dataset.vertex = vertex.id;
  box.style.setProperty("--sl-busy-share", vertex.shares ? `${Math.round(vertex.shares[0] * 30)}%` : "0%");
  box.style.setProperty("--sl-waiting-share", vertex.shares ? `${Math.round(vertex.shares[1] * 30)}%` : "0%");
  setText(head.children[0], vertex.id);
  setText(head.children[1], `× ${vertex.parallelism}`);
  head.children[1].title = `${vertex.parallelism} subtasks`;
  setText(steps, vertex.steps.filter((step) => step !== vertex.id).map((step) => `→ ${step}`).join(" "));
  shares.classList.toggle("sl-unknown", !vertex.shares);
  vertex.shares?.forEach((share, i) => { shares.children[i].style.width = `${share * 100}%`; });
  setText(words, vertex.words);
  const known = Object.fromEntries(vertex.facts);
  setText(rows, vertex.combined || `in ${known["rows in"]} · out ${known["rows out"]} rows`);
  setText(holds, `queued ${known.queued} · state ${known.state}`);
  const combined = vertex.combined ? [`${vertex.combined} before the exchange`] : [];
  box.title = [...vertex.steps, "", ...combined, vertex.words, ...vertex.facts.map(([label, value]) => `${label}: ${value}`)].join("\n");
};

export const drawFlow = ({ findings, charts, graph, edges, boxes }, { body }, columns) => {
  drawFindings(findings, body.findings);
  const width = Math.max(0, body.layers * (BOX.width + GAP.x) - GAP.x);
  const height = Math.max(0, body.rows * (BOX.height + GAP.y) - GAP.y);
  Object.assign(graph.style, { width: `${width}px`, height: `${height}px` });
  whenChanged(edges, body.edges.map(({ path, how }) => [path, how]), () => {
    edges.setAttribute("viewBox", `0 0 ${width} ${height}`);
    edges.setAttribute("width", width);
    edges.setAttribute("height", height);
    drawEdges(edges, body.edges);
  });
  edges.querySelectorAll(".sl-rate").forEach((node, i) => setText(node, body.edges[i].rate));
  const nodes = resize(boxes, body.vertices.length, "div", "sl-box");
  body.vertices.forEach((vertex, i) => drawBox(nodes[i], vertex));
  drawCharts(charts, body.charts, columns);
};
