import assert from "node:assert/strict";
import { test } from "node:test";
import { weightPosition } from "../../../static/app/scale.js";

test("each_decade_of_the_beam_is_a_third", () => {
  const positions = [1e7, 1e8, 1e9, 1e10].map(weightPosition);
  positions.forEach((position, index) => assert.ok(Math.abs(position - index / 3) < 1e-12));
});

test("weights_beyond_the_beam_lie_at_its_ends", () => {
  assert.equal(weightPosition(1), 0);
  assert.equal(weightPosition(1e12), 1);
});
