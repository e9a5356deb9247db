import assert from "node:assert/strict";
import { test } from "node:test";
import { refuseKnownDefects, relativeError, tryOut } from "../../../static/backends/gpu_trial.js";
import { NgramSession } from "./ngram_model.mjs";

test("relative_error_is_scale_free", () => {
  const a = Float32Array.of(3, 4);
  assert.equal(relativeError(a, a), 0);
  assert.ok(Math.abs(relativeError(a, Float32Array.of(3, 4.05)) - 0.01) < 1e-6);
  assert.equal(relativeError(a, Float32Array.of(3, NaN)), Infinity);
  assert.equal(relativeError(new Float32Array(2), new Float32Array(2)), Infinity);
});

test("consistent_session_passes_and_is_left_empty", async () => {
  const session = new NgramSession(["The sky is blue."]);
  await tryOut(session);
  assert.equal(session.length, 0);
});

test("rejects_session_that_is_wrong_on_long_runs", async () => {
  const session = new NgramSession(["The sky is blue."]);
  let disposed = false;
  session.dispose = async () => void (disposed = true);
  const prefill = session.prefill.bind(session);
  session.prefill = async (ids) => (await prefill(ids)).map((logit, at) => (ids.length >= 32 && at % 3 === 0 ? -logit : logit));
  await assert.rejects(tryOut(session), (error) => error.code === "unsupported" && /computes the model wrongly/.test(error.message));
  assert.ok(disposed);
});

test("rejects_encoder_whose_padding_matters", async () => {
  const encode = async ({ inputIds }) => {
    const [row] = inputIds;
    return { logits: { data: Float32Array.from(row, (id) => id + (row.length >= 32 ? 50 : 0)), dims: [1, row.length, 1] } };
  };
  const session = { kind: "encoder", backend: "x", encode, dispose: async () => {} };
  await assert.rejects(tryOut(session), (error) => error.code === "unsupported");
});

/** One length-delimited protobuf field. */
const field = (number, content) => [number * 8 + 2, content.length, ...content];
const text = (string) => [...new TextEncoder().encode(string)];

test("rejects_attention_whose_soft_cap_a_gpu_ignores", () => {
  const graphWith = (operator, attribute) => {
    const node = [...field(3, text("/attn")), ...field(4, text(operator)), ...field(5, [...field(1, text(attribute)), 0x15, 0, 0, 0x48, 0x42])];
    return Uint8Array.from([0x08, 10, ...field(7, field(1, node))]);
  };
  assert.throws(() => refuseKnownDefects(graphWith("GroupQueryAttention", "softcap")), { code: "unsupported" });
  refuseKnownDefects(graphWith("GroupQueryAttention", "scale"));
  refuseKnownDefects(graphWith("SomethingElse", "softcap"));
});
