// The result table: what is chosen of it is worked out in the kernel, so only one page is ever here.
import { button, element, setText, whenChanged } from "./dom.js";
import { drawTable, makeTable } from "./table.js";

const PAGE_ROWS = [10, 25, 50, 100, 500];
const TYPING_MS = 400;

export const labelled = (parent, text, control) => {
  const label = element("label", "sl-field", parent);
  element("span", "sl-label", label, text);
  label.append(control);
  return control;
};

export const makeSelect = (parent, label, onChange) => {
  const select = labelled(parent, label, document.createElement("select"));
  select.addEventListener("change", () => onChange(select.value));
  return select;
};

export const drawOptions = (select, options, value) => {
  whenChanged(select, options, () => {
    select.replaceChildren();
    for (const [key, text] of options) element("option", "", select, text).value = key;
  });
  if (select.value !== String(value)) select.value = value;
};

// What can be looked for in a table, with one of its own columns.
const exampleOf = ({ columns, numeric }) => {
  const isPlain = (name) => /^[A-Za-z_]\w{0,15}$/.test(name);
  const number = columns.find((name, i) => numeric[i] && isPlain(name));
  const text = columns.find(isPlain);
  return number ? `text, or ${number} > 5` : text ? `text, or ${text} = 'a'` : "text";
};

// A table that is searched, sorted and paged. `bar` is where its tools go; without `folds`, heads stay when it is empty.
export const makePages = (parent, bar, choose, { folds = false, ...looks } = {}) => {
  const parts = { bar, folds };
  parts.where = labelled(bar, "filter", document.createElement("input"));
  parts.where.type = "search";
  parts.where.spellcheck = false;
  let typing;
  const search = () => {
    clearTimeout(typing);
    if (parts.where.value !== parts.body?.where) choose({ where: parts.where.value });
  };
  parts.where.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, TYPING_MS);
  });
  parts.where.addEventListener("change", search);
  parts.rows = makeSelect(bar, "rows on a page", (rows) => choose({ rows: Number(rows) }));
  parts.error = element("div", "sl-where-error", parent);
  parts.error.setAttribute("role", "alert");
  const onSort = (i) => {
    const { sort, descending } = parts.body;
    if (sort !== i) choose({ sort: i, descending: parts.body.numeric[i] });
    else if (descending === parts.body.numeric[i]) choose({ sort: i, descending: !descending });
    else choose({ sort: null, descending: false });
  };
  parts.table = makeTable(parent, { onSort, ...looks });
  parts.foot = element("div", "sl-foot", parent);
  parts.count = element("div", "sl-count", parts.foot);
  parts.pager = element("div", "sl-pager", parts.foot);
  const turn = (text, title, to) =>
    button(parts.pager, text, title, () => choose({ page: to(parts.page, parts.last) }), "sl-button sl-turn");
  parts.turns = [
    turn("«", "first page", () => 0),
    turn("‹", "page before", (page) => page - 1),
    turn("›", "next page", (page) => page + 1),
    turn("»", "last page", (_, last) => last),
  ];
  return parts;
};

export const drawPages = (parts, body, columns) => {
  parts.body = body;
  parts.page = Math.floor(body.first / body.page_rows);
  parts.last = Math.max(0, Math.ceil(body.left / body.page_rows) - 1);
  const sizes = PAGE_ROWS.includes(body.page_rows) ? PAGE_ROWS : [...PAGE_ROWS, body.page_rows].sort((a, b) => a - b);
  drawOptions(parts.rows, sizes.map((n) => [n, n]), body.page_rows);
  if (document.activeElement !== parts.where) parts.where.value = body.where;
  parts.where.placeholder = exampleOf(body);
  const isFolded = parts.folds && body.left === 0 && !body.where;
  parts.bar.hidden = isFolded;
  parts.table.scroll.hidden = isFolded;
  setText(parts.error, body.error ? `✗ ${body.error}` : "");
  drawTable(parts.table, body, columns);
  setText(parts.count, body.count);
  parts.pager.hidden = parts.last === 0;
  parts.turns.forEach((node, i) => { node.disabled = i < 2 ? parts.page === 0 : parts.page >= parts.last; });
};

export const makeResults = (parent, { choose, act }) => {
  const bar = element("div", "sl-bar-tools", parent);
  const mode = makeSelect(bar, "show", (value) => choose({ mode: value }, "results"));
  const pages = makePages(parent, bar, (fields) => choose(fields, "results"), { hasDtypes: true, label: "results" });
  const exports = element("div", "sl-exports", pages.foot);
  element("span", "sl-label", exports, "save as");
  for (const [format, text] of [["parquet", "Parquet"], ["csv", "CSV"]]) {
    button(exports, text, `write the whole result table to a ${text} file beside the notebook`, () =>
      act("export", { format }),
    );
  }
  element("span", "sl-label", exports, "or, in a cell,");
  const frame = element("code", "sl-code", exports);
  frame.title = "the same as a Polars DataFrame";
  return { mode, pages, frame };
};

export const drawResults = ({ mode, pages, frame }, { head, body, original }, columns) => {
  drawOptions(mode, body.modes, body.mode);
  setText(frame, original ? `sl.attach("${head.name}").results()` : `${head.name}.results()`);
  drawPages(pages, body, columns);
};
