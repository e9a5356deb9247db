/** Owns one thread of the kernel measurements: its own instance, its share of every call, all threads in step. */

/** @type {{exports: any, control: Int32Array, thread: number, threads: number}} */
let member;
let barriers = 0;

onmessage = ({ data }) => {
  try {
    if (data.module) join(data);
    postMessage({ marks: data.jobs ? work(data) : [] });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};

function join({ module, memory, stackTop, control, thread, threads }) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.__stack_pointer.value = stackTop;
  member = { exports, control, thread, threads };
}

/** @returns {number[][][]} by pass and job: start and end; one pass before them is not timed */
function work({ jobs, passes }) {
  const mine = jobs.map(shareOf);
  barriers = 0;
  const marks = Array.from({ length: passes + 1 }, () => mine.map(timed));
  return marks.slice(1);
}

/** What this thread does of a job. */
function shareOf({ kernel, calls, units }) {
  const { exports, thread, threads } = member;
  const share = { $begin: Math.floor((units * thread) / threads), $end: Math.floor((units * (thread + 1)) / threads) };
  const mine = calls.filter((call) => call.thread === undefined || call.thread === thread);
  return { kernel: exports[kernel], calls: mine.map(({ args }) => args.map((value) => share[value] ?? value)) };
}

/** Start and end of all calls, in step with the other threads. */
function timed({ kernel, calls }) {
  meet();
  const start = now();
  for (const args of calls) kernel(...args);
  const end = now();
  meet();
  return [start, end];
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
