// Charts with Bokeh. Its script comes from the kernel, once per page, when the first chart is looked at.
import { element, shape, whenChanged } from "./dom.js";

// After Okabe and Ito, in shades that stand out on a light page and on a dark one, each with a dash of its own.
const COLOURS = ["#0072b2", "#b87a00", "#00855f", "#b8558a", "#3a94cc", "#c24e00", "#767676", "#8a6a00"];
const DARK_COLOURS = ["#56b4e9", "#e69f00", "#2fc79a", "#e3a0c6", "#9fd4f5", "#ff8a3d", "#a8a8a8", "#f0e442"];
const DASHES = ["solid", [6, 3], [2, 3], [8, 3, 2, 3], [12, 4], [3, 6], [2, 2], [10, 3, 2, 3, 2, 3]];
export const MARKERS = ["circle", "x", "triangle", "square", "diamond", "plus"];

const SCRIPT_AGAIN_MS = 10000;
const MOST_ASKED = 6;
const LOOK_MS = 100;
const MOST_LOOKS = 100;

let loading;

// A message may get lost, with the connection or with a page that sleeps: it is asked for again.
const scriptOf = (model) =>
  new Promise((resolve, reject) => {
    let asked = 0;
    let timer;
    const end = () => {
      clearInterval(timer);
      model.off("msg:custom", onMessage);
    };
    const ask = () => {
      asked += 1;
      if (asked <= MOST_ASKED) {
        model.send({ type: "need_bokeh" });
        return;
      }
      end();
      reject(new Error("Bokeh's script did not come"));
    };
    const onMessage = (message, buffers) => {
      if (message.type !== "bokeh") return;
      end();
      const others = window.Bokeh;
      const script = document.createElement("script");
      script.text = new TextDecoder().decode(buffers[0]);
      document.head.append(script);
      const own = window.Bokeh;
      if (others && others !== own) window.Bokeh = others;
      if (own) resolve(own);
      else reject(new Error("Bokeh's script did not run"));
    };
    model.on("msg:custom", onMessage);
    timer = setInterval(ask, SCRIPT_AGAIN_MS);
    ask();
  });

export const loadBokeh = (model) => {
  if (model.bokeh) return Promise.resolve(model.bokeh);
  loading ??= scriptOf(model).catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
};

const isDark = (node) => {
  // A node that is not in the page has no colour.
  const colour = getComputedStyle(node.isConnected ? node : document.body).color;
  const [r, g, b] = (colour.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
  return 0.3 * r + 0.59 * g + 0.11 * b > 127;
};

export const colourOf = (node, i) => (isDark(node) ? DARK_COLOURS : COLOURS)[i % COLOURS.length];

// Bokeh knows fewer ways to write a colour than browsers do.
const plainColour = (colour) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b, alpha] = pen.getImageData(0, 0, 1, 1).data;
  return `rgba(${r}, ${g}, ${b}, ${(alpha / 255).toFixed(3)})`;
};

const colourIn = (node, role) => {
  if (role === "none") return null;
  const name = { text: "--sl-text", quiet: "--sl-quiet", line: "--sl-line", page: "--sl-page" }[role];
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  node.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return plainColour(colour);
};

// Calls back when the page changes between light and dark.
export const onTheme = (callBack) => {
  const observer = new MutationObserver(callBack);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  return () => observer.disconnect();
};

// Shows a figure in `host`; the promise gives what fills and removes it. `onZoom` is told which stretch of the abscissa
// a user has chosen.
export const mountFigure = async (model, host, { item, free }, onZoom) => {
  const bokeh = await loadBokeh(model);
  const { Document } = bokeh.require("document");
  const { add_document_standalone } = bokeh.require("embed/standalone");
  const doc = Document.from_json(item.doc);
  const paint = () => {
    if (!host.isConnected) return;
    for (const [id, property, role] of free) {
      const one = doc.get_model_by_id(id);
      if (one) one[property] = colourIn(host, role);
    }
  };
  // The view may have gone while the script was on its way; or the page is slow, and has not put it in its place yet.
  for (let i = 0; i < MOST_LOOKS && !host.isConnected; i += 1) await new Promise((done) => setTimeout(done, LOOK_MS));
  if (!host.isConnected) return undefined;
  paint();
  const views = await add_document_standalone(doc, host, { [item.root_id]: host });
  const stopTheme = onTheme(() => requestAnimationFrame(paint));
  const range = doc.get_model_by_name("x range");
  let isOurs = false;
  range?.change.connect(() => isOurs || onZoom?.([range.start, range.end]));
  return {
    setRange: ([start, end]) => {
      isOurs = true;
      range.setv({ start, end });
      isOurs = false;
    },
    set: (name, property, value) => {
      const one = doc.get_model_by_name(name);
      if (one && one[property] !== value) one[property] = value;
    },
    fill: (name, data) => {
      const source = doc.get_model_by_name(name);
      if (source) source.data = data;
    },
    remove: () => {
      stopTheme();
      views.clear?.();
      doc.clear();
      host.replaceChildren();
    },
  };
};

// Of files the names are enough, unless two have the same.
const named = (labels) => {
  const names = labels.map((label) => (/^(\/|\w+:\/\/)/.test(label) ? label.split("/").at(-1) : label));
  return new Set(names).size === names.length ? names : labels;
};

// The data of a figure's lines and points. A colour is dear to find, and the same for all points of a group.
export const linesOf = (host, lines) => ({
  xs: lines.map(({ x }) => x),
  ys: lines.map(({ y }) => y),
  color: lines.map((line, i) => colourOf(host, line.style ?? i)),
  dash: lines.map((line, i) => DASHES[(line.style ?? i) % DASHES.length]),
  label: named(lines.map(({ label }) => label)),
});

const LINE_MARK = "M1 6H21";
const POINT_MARKS = { circle: "M7 6a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", x: "M7 2l8 8m0-8l-8 8", triangle: "M11 1.5l4.6 8h-9.2z" };

const keyOf = (node, { label, style, marker }, i, shown) => {
  const dash = DASHES[(style ?? i) % DASHES.length];
  const isDashed = !marker && dash !== "solid";
  return {
    label,
    shown,
    path: marker ? POINT_MARKS[marker] : LINE_MARK,
    colour: colourOf(node, style ?? i),
    dash: isDashed ? dash.join(" ") : "none",
  };
};

// The key to a chart below it: text that wraps, so that every name can be read; of a long one, all when pointed at.
export const drawKey = (node, lines, points = []) => {
  const names = named(lines.map(({ label }) => label));
  const items = [
    ...lines.map((line, i) => keyOf(node, line, i, names[i])),
    ...points.map((group, i) => keyOf(node, group, i, group.label)),
  ];
  whenChanged(node, items, () => {
    node.replaceChildren();
    for (const { label, shown, path, colour, dash } of items) {
      const item = element("span", "sl-key-item", node);
      item.title = label;
      const mark = shape("svg", { width: 22, height: 12, "aria-hidden": "true" }, item);
      shape("path", { d: path, stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dash, fill: "none" }, mark);
      element("span", "sl-key-name", item, shown);
    }
  });
};

export const pointsOf = (host, groups) => {
  const data = { x: [], y: [], color: [], marker: [], size: [], label: [] };
  groups.forEach((group, i) => {
    const { x, y } = group;
    const style = group.style ?? i;
    const colour = colourOf(host, style);
    for (let k = 0; k < x.length; k += 1) {
      data.x.push(x[k]);
      data.y.push(y[k]);
      data.color.push(colour);
      data.marker.push(group.marker ?? MARKERS[style % MARKERS.length]);
      data.size.push(group.size ?? 7);
      data.label.push(group.label);
    }
  });
  return data;
};
