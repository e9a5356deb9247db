/** Owns one thread of the kernel measurements: its own instance, its share of every call, all threads in step. */

/** @type {{exports: any, control: Int32Array, thread: number, threads: number}} */
let member;
let barriers = 0;

onmessage = ({ data }) => {
  try {
    if (data.module) join(data);
    postMessage({ marks: data.job ? work(data) : [] });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};

function join({ module, memory, stackTop, control, thread, threads }) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.__stack_pointer.value = stackTop;
  member = { exports, control, thread, threads };
}

/** @returns {number[][]} start and end of every pass; one pass before them is not timed */
function work({ job, passes }) {
  const { exports, thread, threads } = member;
  const kernel = exports[job.kernel];
  const share = { $begin: Math.floor((job.units * thread) / threads), $end: Math.floor((job.units * (thread + 1)) / threads) };
  const calls = job.calls
    .filter((call) => call.thread === undefined || call.thread === thread)
    .map(({ args }) => args.map((value) => share[value] ?? value));
  barriers = 0;
  const marks = [];
  for (let pass = 0; pass <= passes; pass++) {
    meet();
    const start = now();
    for (const args of calls) kernel(...args);
    marks.push([start, now()]);
    meet();
  }
  return marks.slice(1);
}

/** Waits for all threads. */
function meet() {
  const { control, threads } = member;
  barriers += 1;
  Atomics.add(control, 0, 1);
  Atomics.notify(control, 0);
  for (let seen = Atomics.load(control, 0); seen < barriers * threads; seen = Atomics.load(control, 0)) {
    Atomics.wait(control, 0, seen);
  }
}

/** One clock for all threads. */
const now = () => performance.timeOrigin + performance.now();
