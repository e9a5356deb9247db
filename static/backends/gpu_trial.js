/** Owns the trial of a session on this device's GPU: whether it runs at all, and whether it computes what it should. */

import { parseNodes } from "../engine/onnx_model.js";
import { FeatherweightError } from "../errors.js";

/** @typedef {import("./backend.js").DecoderSession | import("./backend.js").EncoderSession} Session */

/**
 * Kernels differ by length: onnxruntime-web 1.30's attention is right up to 31 tokens and wrong from 32 on where the GPU is
 * Chromium's software renderer (MultiHeadAttention alone, error 0.35 for inputs in -1..1; all other operators agree).
 */
const LONG = 40;
const SHORT = 8;
/**
 * Between right and wrong as measured: two correct fp32 runs differ by about 1e-5, the defect above makes 0.057 (SmolLM2's
 * logits) and 0.31 (MiniLM's states). What 16-bit floats make on a GPU was not measured; to refuse one costs speed only.
 */
const TOLERANCE = 0.02;

/**
 * Refuses graphs that are known to come out wrong without a trace: onnxruntime-web 1.30's WebGPU attention ignores the soft
 * cap of scores (Gemma 2; microsoft/onnxruntime#27461), each time in the same way.
 * @param {Uint8Array} graph an `.onnx` file
 * @throws {FeatherweightError} unsupported
 */
export function refuseKnownDefects(graph) {
  const capped = parseNodes(graph).find((node) => node.opType === "GroupQueryAttention" && node.attributes.softcap);
  if (!capped) return;
  throw new FeatherweightError(
    "unsupported",
    "The GPU backend does not bound this model's attention scores, which it was trained with. Use another backend.",
    { node: capped.name },
  );
}

/**
 * Runs the same tokens in two ways that must agree. A graph that a GPU cannot run fails at its first run only (a shader
 * that does not compile): better here than in use.
 * @param {Session} session empty, and empty again afterwards; disposed of when it fails
 * @throws {FeatherweightError} unsupported, out_of_memory, device_lost
 */
export async function tryOut(session) {
  try {
    const [one, other] = session.kind === "encoder" ? await encodeTwice(session) : await prefillTwice(session);
    const error = relativeError(one, other);
    if (error <= TOLERANCE) return;
    throw new FeatherweightError(
      "unsupported",
      "This GPU computes the model wrongly in this browser: the same text gave two different results. Use another backend.",
      { relative_error: error, backend: session.backend },
    );
  } catch (error) {
    await session.dispose().catch(() => {});
    throw error;
  }
}

/** In one go, and in parts. @param {import("./backend.js").DecoderSession} session */
async function prefillTwice(session) {
  const ids = sampleIds(LONG);
  const whole = await session.prefill(ids);
  await session.reset();
  let parts = whole;
  for (let start = 0; start < LONG; start += SHORT) parts = await session.prefill(ids.slice(start, start + SHORT));
  await session.reset();
  return [whole, parts];
}

/** As it is, and with padding that must not matter. @param {import("./backend.js").EncoderSession} session */
async function encodeTwice(session) {
  const ids = sampleIds(SHORT);
  const filler = new Array(LONG - SHORT).fill(0);
  const ones = new Array(SHORT).fill(1);
  const [bare] = Object.values(await session.encode({ inputIds: [ids], attentionMask: [ones] }));
  const [padded] = Object.values(
    await session.encode({ inputIds: [[...ids, ...filler]], attentionMask: [[...ones, ...filler]] }),
  );
  return [bare.data, padded.data.subarray(0, bare.data.length)];
}

/** Small ids: every vocabulary has them. @param {number} length */
function sampleIds(length) {
  return Array.from({ length }, (_, at) => 3 + ((at * 37) % 200));
}

/**
 * |a - b| / |a|; NaN and infinity anywhere make it infinite.
 * @param {Float32Array} a
 * @param {Float32Array} b the same length
 */
export function relativeError(a, b) {
  let difference = 0;
  let size = 0;
  for (let at = 0; at < a.length; at += 1) {
    difference += (a[at] - b[at]) ** 2;
    size += a[at] ** 2;
  }
  const error = Math.sqrt(difference / size);
  return Number.isFinite(error) ? error : Infinity;
}
