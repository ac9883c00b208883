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

// A model that survives its kernel: nothing can be sent any more, and `onGone` is called, once.
export const untilKernelEnds = (model, onGone) => {
  let isGone = false;
  const send = (content) => {
    if (isGone) return;
    try {
      model.send(content);
    } catch (error) {
      // The comm is closed: JupyterLab does that when the kernel was restarted or has died.
      console.warn(error);
      isGone = true;
      onGone();
    }
  };
  return { ...model, send };
};

// Hides the copy that stands beside a panel for readers of the saved notebook, for as long as the panel is there.
export const hideCopy = (model) => {
  const name = model.get("copy_name");
  const rule = document.createElement("style");
  if (name) rule.textContent = `.${name}, .jp-OutputArea-child:has(.${name}) { display: none; }`;
  document.head.append(rule);
  return () => rule.remove();
};

const QUIET_MS = 5000;
const LONGEST_QUIET_MS = 60000;

// Asks the kernel after its newest frame when none has come for a while, or when one is missing; it then sends it again.
export const watchGaps = (model, lastSeq, isFinal) => {
  let askAt = Date.now() + QUIET_MS;
  let patience = QUIET_MS;
  const check = () => model.send({ type: "check", seq: lastSeq() });
  const timer = setInterval(() => {
    if (Date.now() < askAt || isFinal() || document.visibilityState !== "visible") return;
    // A job that has nothing to tell is asked ever more seldom.
    patience = Math.min(2 * patience, LONGEST_QUIET_MS);
    askAt = Date.now() + patience;
    check();
  }, QUIET_MS / 5);
  return {
    check,
    received: (seq) => {
      patience = QUIET_MS;
      askAt = Date.now() + patience;
      if (seq > lastSeq() + 1) check();
    },
    stop: () => clearInterval(timer),
  };
};

const TELL_AGAIN_MS = 10000;

// Tells the kernel whether this view can be seen, so that nothing is sent while nobody looks. While frames come it says
// so again and again: a browser that crashed, or a machine that was shut, says nothing any more.
export const watchLooks = (model, root) => {
  const view = Math.random().toString(36).slice(2);
  let onScreen = true;
  let told;
  let toldAt = 0;
  const tell = (looking) => {
    if (looking === told && Date.now() - toldAt < TELL_AGAIN_MS) return;
    told = looking;
    toldAt = Date.now();
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
  window.addEventListener("focus", judge);
  window.addEventListener("pagehide", leave);
  judge();
  return {
    received: judge,
    stop: () => {
      observer.disconnect();
      document.removeEventListener("visibilitychange", judge);
      window.removeEventListener("focus", judge);
      window.removeEventListener("pagehide", leave);
      leave();
    },
  };
};
