// Put into each page before anything else: notes what comes over the kernel's WebSocket, and what the panel shows when.
(() => {
  const decoder = new TextDecoder();
  // Wall clock in ms, finer than Date.now(): taken where Date.now() turns to its next millisecond.
  const first = Date.now();
  let turned = first;
  while (turned === first) turned = Date.now();
  const offset = turned - performance.now();
  const probe = { messages: [], drop: 0, dropped: 0, shown: new Map(), draws: 0, rows: 0, wrong: [], gap: 0, visible: {} };
  probe.now = () => performance.now() + offset;
  window.slProbe = probe;

  // A message of the protocol v1.kernel.websocket.jupyter.org: a count, that many offsets, then the parts.
  const parsed = (data) => {
    const view = new DataView(data);
    const count = Number(view.getBigUint64(0, true));
    const at = Array.from({ length: count }, (_, i) => Number(view.getBigUint64(8 + 8 * i, true)));
    const text = (i) => decoder.decode(new Uint8Array(data, at[i], at[i + 1] - at[i]));
    return { channel: text(0), type: JSON.parse(text(1)).msg_type, isFrame: count > 6 };
  };
  // True when the message goes on to the page.
  const take = ({ data }) => {
    if (!(data instanceof ArrayBuffer)) return true;
    const { channel, type, isFrame } = parsed(data);
    if (channel !== "iopub") return true;
    probe.messages.push([probe.now(), type, data.byteLength]);
    if (!isFrame || type !== "comm_msg" || probe.drop === 0) return true;
    probe.drop -= 1;
    probe.dropped += 1;
    return false;
  };
  const inherited = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
  window.WebSocket = class extends WebSocket {
    set onmessage(handler) {
      inherited.set.call(this, handler && ((event) => (take(event) ? handler.call(this, event) : undefined)));
    }

    get onmessage() {
      return inherited.get.call(this);
    }
  };

  // Calls back when a selector is there for the first time.
  probe.await = (name, selector) => {
    const look = () => {
      if (probe.visible[name] || !document.querySelector(selector)) return;
      probe.visible[name] = probe.now();
      observer.disconnect();
    };
    const observer = new MutationObserver(look);
    observer.observe(document.documentElement, { childList: true, subtree: true });
    look();
  };

  const cellsOf = (row) => Array.from(row.children, (cell) => cell.textContent);
  // Watches the result table: when each row, by its column `key`, came on the screen, and whether rows are as they must be.
  probe.watch = (key, isRight) => {
    const body = document.querySelector(".sl-view .sl-table tbody");
    const look = () => {
      const now = probe.now();
      const names = Array.from(document.querySelectorAll(".sl-view .sl-table th .sl-sort span:first-child"), (one) => one.textContent);
      probe.draws += 1;
      for (const row of body.children) {
        const cells = Object.fromEntries(cellsOf(row).map((text, i) => [names[i], text]));
        probe.rows += 1;
        if (!probe.shown.has(cells[key])) probe.shown.set(cells[key], [now, Number(cells.us)]);
        if (isRight && !isRight(cells) && probe.wrong.length < 20) probe.wrong.push(cells);
      }
    };
    probe.observer?.disconnect();
    probe.observer = new MutationObserver(look);
    probe.observer.observe(body, { childList: true, subtree: true, characterData: true });
  };
  probe.table = () => Array.from(document.querySelectorAll(".sl-view .sl-table tbody tr"), cellsOf);

  // The longest time between two animation frames, until told to stop.
  probe.measureGaps = () => {
    let last = performance.now();
    probe.gap = 0;
    probe.measuring = true;
    const frame = (now) => {
      probe.gap = Math.max(probe.gap, now - last);
      last = now;
      if (probe.measuring) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  };
})();
