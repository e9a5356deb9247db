/** Owns the test page's end of its worker: `call(name, ...args)` runs a command of delivery_worker.js there. */
const worker = new Worker("delivery_worker.js", { type: "module" });
const waiting = new Map();
let lastId = 0;

worker.onmessage = ({ data: { id, value, error } }) => {
  waiting.get(id)({ value, error });
  waiting.delete(id);
};

globalThis.call = (name, ...args) =>
  new Promise((resolve) => {
    waiting.set(++lastId, resolve);
    worker.postMessage({ id: lastId, name, args });
  });
