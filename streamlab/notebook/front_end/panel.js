// The panel: a header, tabs, and what the open tab shows. Draws the newest frame that the kernel has sent.
import { element, keepKeys, setText } from "./dom.js";
import { columnsOf, hideCopy, untilKernelEnds, watchGaps, watchLooks } from "./wire.js";
import { drawGone, drawHeader, makeHeader } from "./header.js";
import { drawResults, makeResults } from "./results.js";
import { drawTime, makeTime } from "./time.js";
import { drawFlow, makeFlow } from "./flow.js";
import { drawCheckpoints, makeCheckpoints } from "./checkpoints.js";
import { drawLog, makeLog } from "./log.js";

const TABS = {
  results: { title: "Results", make: makeResults, draw: drawResults },
  time: { title: "Time", make: makeTime, draw: drawTime },
  flow: { title: "Flow", make: makeFlow, draw: drawFlow },
  checkpoints: { title: "Checkpoints", make: makeCheckpoints, draw: drawCheckpoints },
  log: { title: "Log", make: makeLog, draw: drawLog },
};
const PATIENCE_MS = 4000;

let panels = 0;

const makeTabs = (root, names, tools) => {
  panels += 1;
  const list = element("div", "sl-tabs", root);
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "what to show of the job");
  const tabs = names.map((name) => {
    const tab = element("button", "sl-tab", list, TABS[name].title);
    const panel = element("div", "sl-panel", root);
    tab.type = "button";
    tab.id = `sl-tab-${panels}-${name}`;
    tab.dataset.tab = name;
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", () => tools.open(name));
    panel.id = `sl-panel-${panels}-${name}`;
    panel.setAttribute("role", "tabpanel");
    // What scrolls can be scrolled by keys; of the results, the table does.
    if (name !== "results") panel.tabIndex = 0;
    panel.setAttribute("aria-labelledby", tab.id);
    tab.setAttribute("aria-controls", panel.id);
    return { name, tab, panel, parts: undefined };
  });
  const STEPS = { ArrowRight: 1, ArrowLeft: -1 };
  list.addEventListener("keydown", (event) => {
    const at = tabs.findIndex(({ tab }) => tab === document.activeElement);
    const to = event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : at + STEPS[event.key];
    if (at < 0 || Number.isNaN(to)) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    next.tab.focus();
    tools.open(next.name);
  });
  return tabs;
};

const select = (tabs, open) => {
  for (const { name, tab, panel } of tabs) {
    const isOpen = name === open;
    tab.setAttribute("aria-selected", isOpen);
    tab.tabIndex = isOpen ? 0 : -1;
    panel.hidden = !isOpen;
  }
};

const makePanel = (model, el) => {
  const root = element("div", "sl-view", el);
  root.setAttribute("role", "group");
  keepKeys(root);
  const state = { seq: 0, tabs: [], wanted: undefined, wantedSince: 0 };
  const ends = [];
  const tools = {
    model,
    onEnd: (end) => ends.push(end),
    choose: (fields, of) => model.send({ type: "choose", of, fields }),
    act: (command, args = {}) => model.send({ type: "do", command, arguments: args }),
    open: (name) => {
      Object.assign(state, { wanted: name, wantedSince: Date.now() });
      select(state.tabs, name);
      tools.choose({ tab: name });
    },
  };
  const header = makeHeader(root, tools.act);
  const body = element("div", "sl-body", root);

  const draw = (frame) => {
    state.final = frame.head.final;
    state.head = frame.head;
    if (frame.figures && !tools.figures) {
      tools.figures = frame.figures;
      model.send({ type: "have_figures" });
    }
    drawHeader(header, frame.head, frame);
    if (state.tabs.map(({ name }) => name).join() !== frame.tabs.join()) {
      body.replaceChildren();
      state.tabs = makeTabs(body, frame.tabs, tools);
    }
    // A click shows at once; frames from before it do not take it back.
    if (state.wanted && state.wanted !== frame.tab && Date.now() - state.wantedSince < PATIENCE_MS) return;
    state.wanted = undefined;
    select(state.tabs, frame.tab);
    const open = state.tabs.find(({ name }) => name === frame.tab);
    open.parts ??= TABS[frame.tab].make(open.panel, tools);
    TABS[frame.tab].draw(open.parts, frame, columnsOf(frame));
    root.dataset.tab = frame.tab;
  };

  const fail = (error) => {
    const text = `${error?.name ?? "Error"}: ${error?.message ?? error}`;
    if (state.failed === text) return;
    state.failed = text;
    setText(element("div", "sl-callout sl-error", root), `This panel could not be drawn. ${text}`);
    model.send({ type: "error", text });
    console.error(error);
  };
  const gone = () => drawGone(header, state.head);
  return { root, state, draw, fail, gone, end: () => ends.forEach((end) => end()) };
};

export default {
  render({ model: lasting, el }) {
    const model = untilKernelEnds(lasting, () => gone());
    const { root, state, draw, fail, gone, end } = makePanel(model, el);
    const looks = watchLooks(model, root);
    const gaps = watchGaps(model, () => state.seq, () => state.final);
    const update = () => {
      const frame = model.get("frame");
      gaps.received(frame.seq);
      looks.received();
      state.seq = frame.seq;
      try {
        draw(frame);
      } catch (error) {
        fail(error);
      }
    };
    update();
    model.on("change:frame", update);
    // Asked once the comm was closed, if it was.
    const ask = () => setTimeout(gaps.check);
    model.on("comm_live_update", ask);
    const showCopy = hideCopy(model);
    return () => {
      model.off("change:frame", update);
      model.off("comm_live_update", ask);
      showCopy();
      gaps.stop();
      looks.stop();
      end();
    };
  },
};
