import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FeatherweightError } from "../../../static/errors.js";
import { Transferred, connect, nextTask, serve } from "../../../static/worker/bridge.js";

/** Both ends over a real message channel: everything is cloned, as between a page and its worker. */
function open(methods) {
  const { port1, port2 } = new MessageChannel();
  const listeners = {};
  serve(methods, {
    postMessage: (message, transfer) => port2.postMessage(message, transfer),
    addEventListener: (_, listener) => (port2.onmessage = ({ data }) => listener({ data })),
  });
  const worker = {
    terminated: false,
    postMessage: (message) => port1.postMessage(message),
    addEventListener: (type, listener) => {
      listeners[type] = listener;
      if (type === "message") port1.onmessage = ({ data }) => listener({ data });
    },
    terminate() {
      worker.terminated = true;
      port1.close();
    },
  };
  return { connection: connect(worker), worker, die: (event, type = "error") => listeners[type](event) };
}

async function* numbers(limit, { signal, emit }) {
  for (let number = 0; number < limit; number += 1) {
    if (signal.aborted) throw new FeatherweightError("aborted", "Stopped.");
    emit(number);
    yield number;
    await nextTask();
  }
}

const counting = () => {
  const counted = { emitted: 0 };
  const count = async (limit, context) => {
    for await (const number of numbers(limit, context)) counted.emitted = number + 1;
    return "done";
  };
  return { counted, methods: { count } };
};

const rejected = (code, pattern = /./) => (error) =>
  error instanceof FeatherweightError && error.code === code && pattern.test(error.message);

test("roundtrip", async (t) => {
  const { connection } = open({ double: ({ value }) => value * 2 });
  t.after(() => connection.close());
  assert.deepEqual(await Promise.all([1, 2, 3].map((value) => connection.call("double", { value }))), [2, 4, 6]);
});

test("errors_keep_code_and_details", async (t) => {
  const { connection } = open({
    fail: () => {
      throw new FeatherweightError("quota", "Too little.", { need: 5 });
    },
    crash: () => null.nothing,
  });
  t.after(() => connection.close());
  await assert.rejects(connection.call("fail", {}), (error) => rejected("quota", /^Too little\.$/)(error) && error.details.need === 5);
  await assert.rejects(connection.call("crash", {}), rejected("unsupported", /null/));
  await assert.rejects(connection.call("missing", {}), rejected("unsupported"));
});

test("results_that_cannot_be_cloned_are_an_error", async (t) => {
  const { connection } = open({ bad: () => () => {} });
  t.after(() => connection.close());
  await assert.rejects(connection.call("bad", {}), FeatherweightError);
});

test("buffers_are_moved", async (t) => {
  const sent = Float32Array.of(1, 2);
  const { connection } = open({ take: () => new Transferred({ logits: sent }, [sent.buffer]) });
  t.after(() => connection.close());
  assert.deepEqual((await connection.call("take", {})).logits, Float32Array.of(1, 2));
  assert.equal(sent.byteLength, 0);
});

test("events_come_in_order_and_all", async (t) => {
  const { connection } = open(counting().methods);
  t.after(() => connection.close());
  const seen = [];
  for await (const event of connection.stream("count", 50)) seen.push(event);
  assert.deepEqual(seen, Array.from({ length: 50 }, (_, number) => number));
});

test("calls_report_their_events", async (t) => {
  const { connection } = open(counting().methods);
  t.after(() => connection.close());
  const seen = [];
  assert.equal(await connection.call("count", 3, { onEvent: (event) => seen.push(event) }), "done");
  assert.deepEqual(seen, [0, 1, 2]);
});

test("leaving_the_loop_aborts", async (t) => {
  const { counted, methods } = counting();
  const { connection } = open(methods);
  t.after(() => connection.close());
  for await (const event of connection.stream("count", 1e9)) if (event === 3) break;
  await connection.call("count", 1);
  const { emitted } = counted;
  await sleep(5);
  assert.equal(counted.emitted, emitted);
});

test("abort_rejects", async (t) => {
  const { connection } = open(counting().methods);
  t.after(() => connection.close());
  const controller = new AbortController();
  const run = async () => {
    for await (const event of connection.stream("count", 1e9, { signal: controller.signal })) if (event === 3) controller.abort();
  };
  await assert.rejects(run(), rejected("aborted"));
  await assert.rejects(connection.call("count", 1, { signal: controller.signal }), rejected("aborted"));
});

test("abort_of_a_deaf_worker_rejects_too", async (t) => {
  const { connection } = open({ never: () => new Promise(() => {}) });
  t.after(() => connection.close());
  const controller = new AbortController();
  const call = connection.call("never", {}, { signal: controller.signal });
  controller.abort();
  await assert.rejects(call, rejected("aborted"));
});

test("errors_end_a_stream", async (t) => {
  const { connection } = open({
    fail: async (_, { emit }) => {
      emit("one");
      throw new FeatherweightError("device_lost", "Gone.");
    },
  });
  t.after(() => connection.close());
  const seen = [];
  const run = async () => {
    for await (const event of connection.stream("fail", {})) seen.push(event);
  };
  await assert.rejects(run(), rejected("device_lost", /Gone/));
  assert.deepEqual(seen, ["one"]);
});

test("death_of_the_worker_rejects_everything", async () => {
  const cases = [
    [{ message: "Uncaught RangeError: Array buffer allocation failed" }, "error", "out_of_memory"],
    [{ message: "Uncaught RuntimeError: unreachable" }, "error", "device_lost"],
    [{}, "error", "network"],
    [{}, "messageerror", "device_lost"],
  ];
  for (const [event, type, code] of cases) {
    const { connection, worker, die } = open({ never: () => new Promise(() => {}) });
    const calls = [connection.call("never", {}), connection.call("never", {})];
    die(event, type);
    for (const call of calls) await assert.rejects(call, rejected(code));
    assert.ok(connection.closed && worker.terminated);
    await assert.rejects(connection.call("never", {}), FeatherweightError);
  }
});

test("close_rejects_what_is_pending", async () => {
  const { connection } = open({ never: () => new Promise(() => {}) });
  const call = connection.call("never", {});
  connection.close();
  await assert.rejects(call, rejected("aborted", /disposed/));
});
