// The verdicts of tests/data/fit.json, which the Python half gives as well: number for number.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fitModel } from "../../../static/device/choice.js";
import { fromProfile, toProfile } from "../../../static/device/profile.js";
import { parseManifest } from "../../../static/manifest/manifest.js";

const { manifests, profiles, cases } = JSON.parse(await readFile(new URL("../../data/fit.json", import.meta.url), "utf8"));

/** Equal but for the last digits of floating-point numbers. */
function assertClose(actual, expected, where) {
  if (typeof expected === "number" && typeof actual === "number") {
    assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.abs(expected), `${where}: ${actual} is not ${expected}`);
  } else if (expected && typeof expected === "object") {
    assert.deepEqual(Object.keys(actual ?? {}).sort(), Object.keys(expected).sort(), where);
    for (const key of Object.keys(expected)) assertClose(actual[key], expected[key], `${where}.${key}`);
  } else {
    assert.equal(actual, expected, where);
  }
}

for (const { profile, model, verdict, ...asked } of cases) {
  test(`verdict_is_the_golden_one: ${profile} ${model} ${JSON.stringify(asked)}`, () => {
    const manifest = parseManifest(manifests[model], "https://example.org/m/manifest.json");
    const { why, basis, ...found } = fitModel({
      device: fromProfile(profiles[profile]),
      manifest,
      dtype: asked.dtype,
      contextLength: asked.context_length,
      promptTokens: asked.prompt_tokens,
      threads: asked.threads,
      backend: asked.backend,
    });
    assertClose(found, verdict, "verdict");
    for (const [which, other] of Object.entries(found.alternatives)) {
      assert.equal(why.some((sentence) => sentence.startsWith(`The next ${which}, ${other?.dtype}`)), other !== null);
    }
    assert.equal(basis, verdict.expected ? "probe" : "nothing");
  });
}

test("profile_roundtrip", () => {
  for (const profile of Object.values(profiles)) assert.deepEqual(toProfile(fromProfile(profile)), profile);
});
