// Which stretch of time the charts of a tab show: the last half minute or all, moving along, or what was zoomed to.
import { button, element } from "./dom.js";

const LAST_MS = 30000;

// The state of the switch; `zoomed` is told what a user has dragged or wheeled one of the charts to.
export const makeRange = (parent, onChange) => {
  const range = { which: "last", follows: true, seen: undefined };
  const group = element("span", "sl-switch", parent);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "what the charts show");
  const buttons = {};
  const show = () => {
    for (const [name, node] of Object.entries(buttons)) {
      const isOn = name === "follow" ? range.follows : name === range.which;
      node.setAttribute("aria-pressed", isOn);
    }
  };
  const add = (name, text, title, onClick) => {
    buttons[name] = button(group, text, title, () => {
      onClick();
      show();
      onChange();
    });
    buttons[name].dataset.range = name;
  };
  add("last", "last 30 s", "the last half minute", () => Object.assign(range, { which: "last", follows: true }));
  add("all", "all", "as far back as is known", () => Object.assign(range, { which: "all", follows: true }));
  add("follow", "follow", "go along with what comes; drag or wheel in a chart to stay where you are", () => {
    range.follows = !range.follows;
  });
  range.zoomed = (seen) => {
    Object.assign(range, { follows: false, seen });
    show();
    onChange();
  };
  show();
  return range;
};

// Begin and end of what is shown, in ms.
export const rangeOf = (range, charts) => {
  if (!range.follows && range.seen) return range.seen;
  let first = Infinity;
  let last = -Infinity;
  for (const { lines, points } of Object.values(charts)) {
    for (const { x } of [...lines, ...points]) {
      if (!x.length) continue;
      first = Math.min(first, x[0]);
      last = Math.max(last, x[x.length - 1]);
    }
  }
  if (!(first < last)) return [first - LAST_MS, first + 1000];
  const begin = range.which === "last" ? Math.max(first, last - LAST_MS) : first;
  // What came last does not stand on the edge.
  range.seen = [begin, last + (last - begin) / 50];
  return range.seen;
};

// The place of the first number that is not below `least`; they are in order.
const placeOf = (numbers, least) => {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < least) low = middle + 1;
    else high = middle;
  }
  return low;
};

const heightAt = ({ x, y, steps }, place, at) =>
  steps ? y[place - 1] : y[place - 1] + ((y[place] - y[place - 1]) * (at - x[place - 1])) / (x[place] - x[place - 1]);

// What of a line is seen, so that the ordinate fits it; one of steps has its corners.
export const cutLine = (line, [begin, end]) => {
  const from = placeOf(line.x, begin);
  const to = placeOf(line.x, end);
  const x = Array.from(line.x.subarray(from, to));
  const y = Array.from(line.y.subarray(from, to));
  if (from > 0 && from < line.x.length) {
    y.unshift(heightAt(line, from, begin));
    x.unshift(begin);
  }
  if (to > 0 && to < line.x.length) {
    y.push(heightAt(line, to, end));
    x.push(end);
  }
  if (!line.steps) return { ...line, x, y };
  const corners = { x: x.slice(0, 1), y: y.slice(0, 1) };
  for (let i = 1; i < x.length; i += 1) {
    corners.x.push(x[i], x[i]);
    corners.y.push(y[i - 1], y[i]);
  }
  return { ...line, ...corners };
};

export const cutPoints = (group, [begin, end]) => {
  const from = placeOf(group.x, begin);
  const to = placeOf(group.x, end);
  return { ...group, x: group.x.subarray(from, to), y: group.y.subarray(from, to) };
};
