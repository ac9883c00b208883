// Stands in for a notebook's widget model: frames come through one Bokeh data source, messages go through another.
// `panel` is the module of the live panel, which is joined in front of this one.

const KEPT_MESSAGES = 20;

// Bokeh's arrays are no plain ones: parts of them begin elsewhere.
const unpacked = (array) => {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = 4 + view.getUint32(0, true);
  const frame = JSON.parse(new TextDecoder().decode(bytes.subarray(4, end)));
  const binary = bytes.slice(end);
  return { ...frame, binary: new DataView(binary.buffer) };
};

const makeModel = (down, up) => {
  const listeners = new Set();
  const messages = [];
  let sent = 0;
  let frame = unpacked(down.data.bytes);
  down.properties.data.change.connect(() => {
    frame = unpacked(down.data.bytes);
    for (const listener of listeners) listener();
  });
  return {
    bokeh: window.Bokeh,
    get: (name) => (name === "frame" ? frame : undefined),
    on: (event, listener) => event === "change:frame" && listeners.add(listener),
    off: (_event, listener) => listeners.delete(listener),
    send: (content) => {
      sent += 1;
      messages.push(JSON.stringify({ ...content, n: sent }));
      messages.splice(0, messages.length - KEPT_MESSAGES);
      up.data = { messages: [...messages] };
    },
  };
};

let begun = false;

window.streamlab = {
  // Bokeh says that the document is ready each time it has nothing to do, as after charts were drawn in the page.
  begin: (down, up) => {
    if (begun) return;
    begun = true;
    panel.render({ model: makeModel(down, up), el: document.getElementById("sl-main") });
  },
};
