import assert from "node:assert/strict";
import { test } from "node:test";
import { FeatherweightError } from "../../../static/errors.js";
import { argmax, penalizeRepetition, randomSource, sample } from "../../../static/text/sampler.js";

/** @param {number[]} probabilities */
const logitsOf = (probabilities) => Float32Array.from(probabilities, Math.log);

/** Which tokens are drawn at all, over a grid of random numbers. */
function reachable(logits, options, steps = 2000) {
  const found = new Set();
  for (let step = 0; step < steps; step += 1) found.add(sample(logits, options, () => step / steps));
  return [...found].sort((a, b) => a - b);
}

/** The definition, by a full sort: the tokens that the fast one must be able to draw, with their weights. */
function referenceSupport(logits, { temperature, topK = 0, topP = 1, minP = 0 }) {
  const top = Math.max(...logits);
  let rows = Array.from(logits, (logit, id) => ({ id, weight: Math.exp((logit - top) / temperature) }));
  rows.sort((a, b) => b.weight - a.weight || a.id - b.id);
  if (topK > 0) rows = rows.slice(0, topK);
  const total = rows.reduce((sum, row) => sum + row.weight, 0);
  let before = 0;
  rows = rows.filter((row) => {
    const kept = before < topP * total;
    before += row.weight;
    return kept || topP === 1;
  });
  return rows.filter((row) => row.weight >= minP);
}

test("temperature_zero_is_greedy", () => {
  const random = () => assert.fail("greedy decoding needs no randomness");
  assert.equal(sample(Float32Array.of(1, 3, 3, 2), {}, random), 1);
  assert.equal(argmax(Float32Array.of(-Infinity, -5, -Infinity)), 1);
});

test("rejects_not_a_number", () => {
  for (const logits of [Float32Array.of(1, NaN, 2), Float32Array.of(Infinity, 1), new Float32Array(3).fill(-Infinity)]) {
    assert.throws(() => argmax(logits), FeatherweightError);
  }
});

test("frequencies_follow_probabilities", () => {
  const random = randomSource(7);
  const counts = [0, 0, 0];
  for (let draw = 0; draw < 20000; draw += 1) counts[sample(logitsOf([0.2, 0.5, 0.3]), { temperature: 1 }, random)] += 1;
  counts.forEach((count, id) => assert.ok(Math.abs(count / 20000 - [0.2, 0.5, 0.3][id]) < 0.02));
});

test("temperature_sharpens", () => {
  const half = sample(logitsOf([0.6, 0.4]), { temperature: 0.5 }, () => 0.65);
  assert.equal(half, 0); // 0.36 / (0.36 + 0.16) = 0.69
  assert.equal(sample(logitsOf([0.6, 0.4]), { temperature: 1 }, () => 0.65), 1);
});

test("top_k_keeps_k", () => {
  const logits = logitsOf([0.1, 0.4, 0.2, 0.3]);
  assert.deepEqual(reachable(logits, { temperature: 1, topK: 2 }), [1, 3]);
  assert.deepEqual(reachable(logits, { temperature: 1, topK: 99 }), [0, 1, 2, 3]);
  assert.deepEqual(reachable(Float32Array.of(1, 1, 1, 1), { temperature: 1, topK: 2 }), [0, 1]);
});

test("top_p_keeps_the_fewest_that_reach_it", () => {
  const logits = logitsOf([0.1, 0.4, 0.2, 0.3]);
  assert.deepEqual(reachable(logits, { temperature: 1, topP: 0.3 }), [1]);
  assert.deepEqual(reachable(logits, { temperature: 1, topP: 0.6 }), [1, 3]);
  assert.deepEqual(reachable(logits, { temperature: 1, topP: 0.85 }), [1, 2, 3]);
});

test("min_p_is_relative_to_the_most_likely", () => {
  assert.deepEqual(reachable(logitsOf([0.05, 0.5, 0.25, 0.2]), { temperature: 1, minP: 0.45 }), [1, 2]);
});

test("matches_reference", () => {
  const random = randomSource(3);
  for (let round = 0; round < 60; round += 1) {
    const logits = Float32Array.from({ length: 300 }, () => 12 * random() - 6);
    const options = {
      temperature: 0.3 + random(),
      topK: round % 3 ? 1 + Math.floor(random() * 40) : 0,
      topP: round % 4 ? 0.2 + 0.8 * random() : 1,
      minP: round % 5 ? 0.2 * random() : 0,
    };
    const support = referenceSupport(logits, options);
    const expected = support.map((row) => row.id);
    const total = support.reduce((sum, row) => sum + row.weight, 0);
    const steps = 4000;
    const drawn = reachable(logits, options, steps);
    assert.ok(drawn.every((id) => expected.includes(id)));
    // A grid of random numbers meets every token that is heavier than its step.
    assert.ok(support.filter((row) => row.weight > (1.001 * total) / steps).every((row) => drawn.includes(row.id)));
    // An end of the interval must never leave the support.
    assert.ok(expected.includes(sample(logits, options, () => 1 - 2 ** -32)));
  }
});

test("seed_decides_the_answer", () => {
  const logits = Float32Array.from({ length: 50000 }, (_, id) => Math.sin(id));
  const draw = (seed) => {
    const random = randomSource(seed);
    return Array.from({ length: 8 }, () => sample(logits, { temperature: 1, topK: 40, topP: 0.95 }, random));
  };
  assert.deepEqual(draw(5), draw(5));
  assert.notDeepEqual(draw(5), draw(6));
});

test("random_source_is_mulberry32", () => {
  const random = randomSource(0);
  // First outputs for seed 0 of the published algorithm, as 32-bit integers.
  assert.deepEqual([random(), random(), random()].map((value) => value * 2 ** 32), [1144304738, 1416247, 958946056]);
});

test("logits_are_not_changed", () => {
  const logits = Float32Array.of(1, 2, 3);
  sample(logits, { temperature: 1, topK: 2, topP: 0.9, minP: 0.1 }, () => 0.5);
  assert.deepEqual(logits, Float32Array.of(1, 2, 3));
});

test("repetition_penalty_lowers_both_signs", () => {
  const logits = Float32Array.of(2, -2, 2);
  penalizeRepetition(logits, new Set([0, 1]), 2);
  assert.deepEqual(logits, Float32Array.of(1, -4, 2));
});
