// Draws a panel (see panel.py) and keeps it up to date. The kernel sends a whole panel each time, so a message that is
// lost on the way costs nothing, and a page that was reloaded is right at once. Text is set as text, never as markup.

const element = (tag, className, parent) => {
  const node = document.createElement(tag);
  node.className = className;
  parent?.append(node);
  return node;
};

const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

// Makes `parent` have exactly `count` children, so that a growing table keeps the cells that it has.
const resize = (parent, count, tag, className = "") => {
  while (parent.childElementCount > count) parent.lastElementChild.remove();
  while (parent.childElementCount < count) element(tag, className, parent);
  return parent.children;
};

const skeleton = (el) => {
  const root = element("div", "sl-view", el);
  root.setAttribute("role", "group");
  const title = element("div", "sl-title", root);
  const parts = {
    root,
    state: element("span", "sl-state", title),
    name: element("span", "sl-name", title),
    id: element("span", "sl-id", title),
    progress: element("div", "sl-progress", root),
    figures: element("div", "sl-figures", root),
    failure: element("div", "sl-failure", root),
    scroll: element("div", "sl-scroll", root),
  };
  parts.bar = element("div", "sl-bar", parts.progress);
  parts.progress.setAttribute("role", "progressbar");
  parts.progress.setAttribute("aria-label", "rows read");
  parts.table = element("table", "sl-table", parts.scroll);
  parts.head = element("tr", "", element("thead", "", parts.table));
  parts.body = element("tbody", "", parts.table);
  parts.count = element("div", "sl-count", root);
  parts.state.setAttribute("aria-live", "polite");
  return parts;
};

const drawFigures = (parent, figures) => {
  const nodes = resize(parent, figures.length, "div", "sl-figure");
  figures.forEach(([label, value, meaning, alarming], i) => {
    const node = nodes[i];
    if (!node.childElementCount) {
      element("div", "sl-label", node);
      element("div", "sl-value", node);
    }
    setText(node.children[0], label);
    setText(node.children[1], value);
    node.title = meaning;
    node.classList.toggle("sl-alarming", alarming);
  });
};

const drawTable = (parts, panel) => {
  const heads = resize(parts.head, panel.columns.length, "th");
  panel.columns.forEach((name, i) => {
    setText(heads[i], name);
    heads[i].scope = "col";
    heads[i].title = panel.dtypes[i];
    heads[i].classList.toggle("sl-number", panel.numeric[i]);
  });
  const rows = resize(parts.body, panel.rows.length, "tr");
  panel.rows.forEach((row, r) => {
    const cells = resize(rows[r], row.length, "td");
    row.forEach((cell, i) => {
      setText(cells[i], cell ?? "null");
      cells[i].classList.toggle("sl-null", cell === null);
      cells[i].classList.toggle("sl-number", panel.numeric[i]);
    });
  });
};

const drawFailure = (parent, failure) => {
  const text = failure ? JSON.stringify(failure) : "";
  if (parent.dataset.shown === text) return;
  parent.dataset.shown = text;
  parent.replaceChildren();
  if (!failure) return;
  parent.setAttribute("role", "alert");
  element("strong", "", parent).textContent = failure.kind;
  element("pre", "", parent).textContent = failure.message;
  for (const [title, body] of [["rows that the step was given", failure.sample], ["traceback", failure.traceback]]) {
    if (!body) continue;
    const details = element("details", "", parent);
    element("summary", "", details).textContent = title;
    element("pre", "", details).textContent = body;
  }
};

const draw = (parts, panel) => {
  const { root, progress, bar } = parts;
  root.dataset.state = panel.state;
  root.dataset.seq = panel.seq;
  const rowsIn = panel.figures.find(([label]) => label === "rows in")?.[1] ?? "";
  root.setAttribute("aria-label", `Job ${panel.name}, ${panel.state}, ${rowsIn} rows in`);
  setText(parts.state, `${panel.mark} ${panel.state}`);
  setText(parts.name, panel.name);
  setText(parts.id, panel.id);
  const known = panel.progress !== null;
  progress.classList.toggle("sl-unknown", !known);
  bar.style.width = known ? `${(panel.progress * 100).toFixed(1)}%` : "0";
  if (known) progress.setAttribute("aria-valuenow", Math.round(panel.progress * 100));
  drawFigures(parts.figures, panel.figures);
  drawFailure(parts.failure, panel.failure);
  drawTable(parts, panel);
  setText(parts.count, panel.count);
};

// Tells the kernel whether this view can be seen, so that nothing is sent while nobody looks.
const watchLooks = (model, root) => {
  const view = Math.random().toString(36).slice(2);
  let onScreen = true;
  let told;
  const tell = (looking) => {
    if (looking === told) return;
    told = looking;
    model.send({ type: "looking", view, looking });
  };
  const judge = () => tell(onScreen && document.visibilityState === "visible");
  const leave = () => tell(false);
  const observer = new IntersectionObserver((entries) => {
    onScreen = entries.at(-1).isIntersecting;
    judge();
  });
  observer.observe(root);
  document.addEventListener("visibilitychange", judge);
  window.addEventListener("pagehide", leave);
  judge();
  return () => {
    observer.disconnect();
    document.removeEventListener("visibilitychange", judge);
    window.removeEventListener("pagehide", leave);
    leave();
  };
};

export default {
  render({ model, el }) {
    const parts = skeleton(el);
    const update = () => draw(parts, model.get("panel"));
    update();
    model.on("change:panel", update);
    const stopWatching = watchLooks(model, parts.root);
    return () => {
      model.off("change:panel", update);
      stopWatching();
    };
  },
};
