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

// A table that is searched, sorted and paged. `bar` is where its tools go, `foot` what stands below it.
export const makePages = (parent, bar, choose) => {
  const parts = {};
  parts.where = labelled(bar, "only", document.createElement("input"));
  parts.where.type = "search";
  parts.where.placeholder = "text, or origin = 'JFK' and n > 5";
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
  parts.rows = makeSelect(bar, "rows", (rows) => choose({ rows: Number(rows) }));
  parts.error = element("div", "sl-where-error", parent);
  parts.error.setAttribute("role", "alert");
  parts.table = makeTable(parent, (i) => {
    const { sort, descending } = parts.body;
    if (sort !== i) choose({ sort: i, descending: parts.body.numeric[i] });
    else if (descending === parts.body.numeric[i]) choose({ sort: i, descending: !descending });
    else choose({ sort: null, descending: false });
  });
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
  setText(parts.error, body.error ? `✗ ${body.error}` : "");
  drawTable(parts.table, body, columns);
  setText(parts.count, body.count);
  parts.pager.hidden = parts.last === 0;
  parts.turns.forEach((node, i) => { node.disabled = i < 2 ? parts.page === 0 : parts.page >= parts.last; });
};

export const makeResults = (parent, { choose, act }) => {
  const bar = element("div", "sl-bar-tools", parent);
  const mode = makeSelect(bar, "show", (value) => choose({ mode: value }, "results"));
  const pages = makePages(parent, bar, (fields) => choose(fields, "results"));
  const exports = element("div", "sl-exports", pages.foot);
  element("span", "sl-label", exports, "save as");
  for (const [format, text] of [["parquet", "Parquet"], ["csv", "CSV"]]) {
    button(exports, text, `write the whole result table to a ${text} file beside the notebook`, () =>
      act("export", { format }),
    );
  }
  const frame = element("code", "sl-code", exports);
  frame.title = "the same as a Polars DataFrame, in a cell";
  return { mode, pages, frame };
};

export const drawResults = ({ mode, pages, frame }, { head, body, original }, columns) => {
  drawOptions(mode, body.modes, body.mode);
  setText(frame, original ? `sl.attach("${head.name}").results()` : `${head.name}.results()`);
  drawPages(pages, body, columns);
};
