/** Parts of what is too long: nothing is lost, nothing is read twice for its own sake, and each token has context. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { overlappingParts } from "../../../static/tasks/overlapping_parts.js";

test("what_has_room_is_one_part", () => {
  assert.deepEqual(overlappingParts(8, 8), [{ offset: 0, count: 8, from: 0, to: 8 }]);
  assert.deepEqual(overlappingParts(0, 8), [{ offset: 0, count: 0, from: 0, to: 0 }]);
});

test("own_ranges_lie_side_by_side_inside_their_parts", () => {
  for (let total = 1; total < 70; total += 1) {
    for (let room = 2; room < 20; room += 1) {
      const parts = overlappingParts(total, room);
      let reached = 0;
      for (const { offset, count, from, to } of parts) {
        assert.equal(from, reached);
        assert.ok(count <= room && from >= offset && to <= offset + count && to > from, `${total} in ${room}`);
        reached = to;
      }
      assert.equal(reached, total);
    }
  }
});

test("tokens_inside_have_a_quarter_of_the_room_around_them", () => {
  for (const { offset, count, from, to } of overlappingParts(1000, 64).slice(1, -1)) {
    assert.ok(from - offset >= 16 && offset + count - to >= 16);
  }
});
