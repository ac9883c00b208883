// Reads the columns of a frame; see wire.py for how they lie.

export const columnsOf = (frame) => {
  const view = frame.binary;
  const part = ([from, to]) => new Uint8Array(view.buffer, view.byteOffset + from, to - from);
  const aligned = (place) => part(place).slice().buffer;
  const decoder = new TextDecoder();
  return {
    text: ({ parts: [cells, ends, nulls] }) => {
      const bytes = part(cells);
      const isNull = part(nulls);
      let from = 0;
      return Array.from(new Uint32Array(aligned(ends)), (to, i) => {
        const cell = isNull[i] ? null : decoder.decode(bytes.subarray(from, to));
        from = to;
        return cell;
      });
    },
    numbers: ({ parts: [values] }) => new Float64Array(aligned(values)),
  };
};

const QUIET_MS = 5000;
const MOST_CHECKS = 3;

// Asks the kernel after its newest frame when none has come for a while, or when one is missing; it then sends it again.
export const watchGaps = (model, lastSeq, isFinal) => {
  let heard = Date.now();
  let checks = 0;
  const check = () => model.send({ type: "check", seq: lastSeq() });
  const timer = setInterval(() => {
    const isQuiet = Date.now() - heard > QUIET_MS && document.visibilityState === "visible";
    if (!isQuiet || isFinal() || checks >= MOST_CHECKS) return;
    checks += 1;
    check();
  }, QUIET_MS);
  return {
    received: (seq) => {
      heard = Date.now();
      checks = 0;
      if (seq > lastSeq() + 1) check();
    },
    stop: () => clearInterval(timer),
  };
};

// Tells the kernel whether this view can be seen, so that nothing is sent while nobody looks.
export const watchLooks = (model, root) => {
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
