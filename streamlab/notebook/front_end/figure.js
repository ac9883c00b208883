// One figure that keeps ticking: what job.plot() shows.
import { element, keepKeys, setText } from "./dom.js";
import { columnsOf, hideCopy, untilKernelEnds, watchGaps, watchLooks } from "./wire.js";
import { drawKey, linesOf, mountFigure, onTheme } from "./charts.js";

export default {
  render({ model: lasting, el }) {
    const model = untilKernelEnds(lasting, () => element("div", "sl-count", root, "The kernel behind this chart has ended."));
    const root = element("div", "sl-view sl-figure-view", el);
    keepKeys(root);
    const host = element("div", "sl-plot", root);
    const key = element("div", "sl-key", root);
    const note = element("div", "sl-count", root);
    let figure;
    let seq = 0;
    let isGone = false;
    const looks = watchLooks(model, root);
    const gaps = watchGaps(model, () => seq, () => model.get("frame").final);
    const fail = (error) => {
      setText(element("div", "sl-callout sl-error", root), `This chart could not be drawn. ${error?.message ?? error}`);
      model.send({ type: "error", text: String(error?.message ?? error) });
      console.error(error);
    };
    const update = () => {
      const frame = model.get("frame");
      gaps.received(frame.seq);
      looks.received();
      seq = frame.seq;
      if (!figure) return;
      const { numbers } = columnsOf(frame);
      const lines = frame.lines.map((line) => ({ ...line, x: numbers(line.x), y: numbers(line.y) }));
      figure.fill("lines", linesOf(host, lines));
      drawKey(key, lines);
      root.dataset.seq = seq;
      root.dataset.lines = frame.lines.length;
      setText(note, frame.note);
    };
    mountFigure(model, host, model.get("figure")).then((mounted) => {
      figure = mounted;
      if (isGone) figure?.remove();
      else update();
    }).catch(fail);
    model.on("change:frame", update);
    const stopTheme = onTheme(() => requestAnimationFrame(update));
    const ask = () => setTimeout(gaps.check);
    model.on("comm_live_update", ask);
    const showCopy = hideCopy(model);
    return () => {
      isGone = true;
      model.off("change:frame", update);
      model.off("comm_live_update", ask);
      showCopy();
      gaps.stop();
      stopTheme();
      looks.stop();
      figure?.remove();
    };
  },
};
