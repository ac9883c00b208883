// A page of a table: names with types, cells with visible nulls, marks of new and changed rows.
import { element, keepSize, resize, setText } from "./dom.js";

const MARKS = [
  ["", ""],
  ["new", "new since the last look"],
  ["changed", "changed since the last look"],
];
const LONG_LETTERS = 30;

export const makeTable = (parent, { onSort, hasDtypes = false, label = "rows" } = {}) => {
  const scroll = element("div", "sl-scroll", parent);
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", label);
  const table = element("table", "sl-table", scroll);
  return {
    scroll,
    head: element("tr", "", element("thead", "", table)),
    body: element("tbody", "", table),
    onSort,
    hasDtypes,
  };
};

const makeHead = (th, onSort, i) => {
  const sort = element("button", "sl-sort", th);
  sort.type = "button";
  element("span", "", sort);
  element("span", "sl-arrow", sort);
  sort.addEventListener("click", () => onSort(i));
  element("div", "sl-dtype", th);
};

const drawHeads = (table, body) => {
  const heads = resize(table.head, body.columns.length, "th");
  body.columns.forEach((name, i) => {
    const th = heads[i];
    if (!th.childElementCount) makeHead(th, (at) => table.onSort?.(at), i);
    const sorted = body.sort === i;
    th.scope = "col";
    th.setAttribute("aria-sort", sorted ? (body.descending ? "descending" : "ascending") : "none");
    th.classList.toggle("sl-number", body.numeric[i]);
    const [sort, dtype] = th.children;
    sort.disabled = !table.onSort;
    if (sort.children[0].textContent !== name) th.style.minWidth = "";
    setText(sort.children[0], name);
    setText(sort.children[1], sorted ? (body.descending ? "▼" : "▲") : "");
    sort.title = table.onSort ? `${name}: sort` : name;
    setText(dtype, table.hasDtypes ? body.dtypes[i] : "");
  });
};

export const drawTable = (table, body, columns) => {
  drawHeads(table, body);
  const cells = body.cells.map(columns.text);
  const rows = resize(table.body, body.height, "tr");
  for (let r = 0; r < body.height; r += 1) {
    const row = rows[r];
    const [mark, meaning] = MARKS[body.marks[r] ?? 0];
    row.dataset.mark = mark;
    const tds = resize(row, cells.length, "td");
    cells.forEach((column, i) => {
      setText(tds[i], column[r] ?? "null");
      tds[i].title = column[r]?.length > LONG_LETTERS ? column[r] : meaning;
      tds[i].classList.toggle("sl-null", column[r] === null);
      tds[i].classList.toggle("sl-number", body.numeric[i]);
    });
  }
  for (const th of table.head.children) keepSize(th, "width");
};
